// The section of the cache: what it may take on disk and in memory, and the tier that replicas share.
import Type, { type Static } from 'typebox'
import { closed, duration, path, rate, section, size, text } from '../schema-parts.ts'
import { upstreamTls } from '../upstream/schema.ts'

const Credentials = Type.Object(
  {
    file: Type.Optional(
      path(
        'File with `aws_access_key_id = …` and `aws_secret_access_key = …` (and `aws_session_token`) in the form of the AWS tools; read again every minute.',
      ),
    ),
    profile: text('The section of `file`.', { default: 'default' }),
    tokenFile: Type.Optional(
      path('Web identity token, as Kubernetes puts it into a pod, for `roleArn`.'),
    ),
    roleArn: Type.Optional(text('The role that is assumed with `tokenFile`.')),
  },
  section(
    'Who asks. Without `file` or `tokenFile` the environment says it (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, or `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN`), or the instance that this runs on.',
  ),
)

const S3 = Type.Object(
  {
    endpoint: Type.Optional(
      text('URL of the store; that of AWS in `region` when absent.', {
        pattern: '^https?://[^/?#@]+/?$',
        mustBe: 'a URL such as https://s3.example without a path',
        valueText: 'URL',
      }),
    ),
    region: text('Region of the bucket, which is a part of each signature.', {
      default: 'us-east-1',
    }),
    bucket: text('The bucket, which must exist.', {
      pattern: '^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$',
      mustBe: 'the name of a bucket: 3 to 63 of a-z, 0-9, dots and hyphens',
      valueText: 'name',
    }),
    prefix: text('What all keys begin with, so that several sorts of things share a bucket.', {
      default: 'portcullis',
      pattern: '^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$',
      mustBe: 'a path such as region/portcullis, without a slash at its ends',
    }),
    pathStyle: Type.Boolean({
      default: false,
      description:
        "Name the bucket in the path instead of the host name, as most stores of one's own want it.",
    }),
    credentials: Credentials,
    tls: Type.Object(
      {
        ...upstreamTls,
        verify: Type.Boolean({
          default: true,
          description:
            "Whether the store's certificate is checked. `false` is warned about at every start.",
        }),
      },
      section('TLS towards the store; its files are read at the start.'),
    ),
  },
  { ...closed, description: 'An S3-compatible object store.' },
)

const Shared = Type.Object(
  {
    s3: S3,
    required: Type.Boolean({
      default: false,
      description:
        'Whether a start fails while the store cannot be used. Otherwise the gateway works without it meanwhile.',
    }),
  },
  {
    ...closed,
    description:
      'A store that replicas share: it has what any of them has fetched, and what is known of it.',
  },
)

/** The section `cache.shared.s3`. */
export type S3Config = Static<typeof S3>

/** The section `cache`. */
export const CacheSchema = Type.Object(
  {
    dir: path('Folder that holds the cached content and its index.', {
      default: '/var/lib/portcullis',
    }),
    maxBytes: Type.Optional(
      size({
        defaultText: '80 % of the file system of `dir`',
        description:
          'What all content may take. Before more comes, the images that were not pulled for longest go; pinned ones stay.',
      }),
    ),
    minFree: Type.Optional(
      size({
        defaultText: '`2GiB` or 5 % of the file system, the smaller',
        description:
          'What stays free of the file system of `dir`, whoever fills it: images go before, as for `maxBytes`.',
      }),
    ),
    memoryBytes: size({
      default: '128MiB',
      description: 'Memory for small objects (manifests, image configs) that are asked often.',
    }),
    verifyEvery: duration({
      default: '30d',
      description:
        'How often everything that is stored is hashed again, in the background; and how often a file is hashed while it is sent as a whole, besides the first time after a start; `0s`: every time.',
    }),
    verifyRate: rate({
      default: '8MiB/s',
      description: 'How fast stored files are read in the background to be hashed again.',
    }),
    import: Type.Array(path('One archive, OCI layout or `images/` tree.'), {
      default: [],
      description:
        'Archives and folders whose images are brought into the cache at every start, as by `portcullis import`.',
    }),
    shared: Type.Optional(Shared),
  },
  section('The cache on disk and in memory.'),
)
