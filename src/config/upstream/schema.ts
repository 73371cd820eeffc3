// The section of one upstream: where it is, how it is asked, and how long its answers hold.
import Type from 'typebox'
import {
  byPattern,
  closed,
  duration,
  hostPatterns,
  limit,
  namePattern,
  oneOf,
  path,
  rate,
  section,
  tagTtl,
  text,
} from '../schema-parts.ts'
import { defaultTagTtl } from '../registries.ts'
import { formatDuration } from '../units.ts'

/** The keys of `tls` towards whoever is asked. */
export const upstreamTls = {
  verify: Type.Boolean({
    default: true,
    description:
      "Whether the upstream's certificate is checked. `false` is warned about at every start and metered.",
  }),
  ca: Type.Optional(
    path('PEM file of the authorities to trust instead of the public roots, for a private CA.'),
  ),
  cert: Type.Optional(path('PEM client certificate for two-way TLS, with its intermediates.')),
  key: Type.Optional(path('PEM private key that belongs to `cert`.')),
  pfx: Type.Optional(path('PKCS#12 file with client certificate and key, instead of the two.')),
  passphraseFile: Type.Optional(path('File with the passphrase of `key` or `pfx`.')),
  serverName: Type.Optional(
    text('The name to ask for (SNI) and to expect in the certificate, where the URL has another.'),
  ),
}

const upstreamAuth = {
  username: Type.Optional(text('User name at the registry or its token service.')),
  passwordFile: Type.Optional(path('File with the password of `username`.')),
  passwordEnv: Type.Optional(text('Environment variable with the password of `username`.')),
  dockerConfig: Type.Optional(
    path(
      'A docker `config.json` that has the credentials, or names the credential helper that has them (`credHelpers`, `credsStore`), instead of the above.',
    ),
  ),
  helper: Type.Optional(
    text(
      'The docker credential helper that is asked for the credentials, `docker-credential-<NAME>` in PATH, instead of the above: for credentials that do not last.',
      {
        pattern: '^[A-Za-z0-9][A-Za-z0-9._-]*$',
        mustBe: 'the name of a credential helper such as ecr-login, without docker-credential-',
        valueText: 'NAME',
      },
    ),
  ),
  fallback: oneOf(['anonymous', 'none'], {
    default: 'anonymous',
    description:
      'What is done where the token service refuses the credentials: ask for what anybody gets, so that public images can be pulled still, or nothing.',
  }),
  realms: hostPatterns(
    'Hosts of token services that are trusted although they are of another domain than the registry.',
    { default: [] },
  ),
}

const Rewrite = Type.Object(
  {
    from: namePattern(
      'The name as clients have it; `*` stands for one part of it, `**` for one or more.',
    ),
    to: namePattern('The name at the upstream, with the same wildcards in the same order.'),
  },
  { ...closed, description: 'One rule.' },
)

const gateway = Type.Boolean({
  default: false,
  description:
    'Whether another Portcullis answers there: it is asked with `?ns=` and the name of this upstream, so that one gateway serves another for all its upstreams.',
})

const proxy = Type.Optional(text('An HTTP proxy on the way there.', { valueText: 'URL' }))

const EndpointSchema = Type.Object(
  {
    url: text('Where it is, as `url` of the upstream.', { valueText: 'URL' }),
    gateway,
    tls: Type.Object(upstreamTls, section('TLS towards this endpoint.')),
    auth: Type.Object(upstreamAuth, section('Credentials for this endpoint; none: anonymous.')),
    proxy,
  },
  { ...closed, description: 'One endpoint; it has none of the keys of another.' },
)

const hour = String.raw`([01]?\d|2[0-3])(:[0-5]\d)?`
const hoursOfDay = `^${hour}-(${hour}|24(:00)?)$`

/** One of `upstreams`. */
export const UpstreamSchema = Type.Object(
  {
    url: Type.Optional(
      text(
        'Where the registry is, without `/v2`; or a part of a registry, such as a Harbor project, whose repositories are named without it: `https://harbor.example/v2/dockerhub`.',
        {
          valueText: 'URL',
          defaultText:
            '`https://<name>`; the well-known registries have their own; none where `endpoints` has any',
        },
      ),
    ),
    gateway,
    tls: Type.Object(upstreamTls, section('TLS towards this upstream.')),
    auth: Type.Object(upstreamAuth, section('Credentials for this upstream; none: anonymous.')),
    endpoints: Type.Array(EndpointSchema, {
      default: [],
      description:
        'Where else the same content is: asked in this order, after `url` where that is written. The first that works is used; one that fails is asked again after 30 s. Everything else of the upstream holds for all of them.',
    }),
    tagTtl: byPattern(tagTtl, {
      default: formatDuration(defaultTagTtl),
      description:
        'How long a tag is served without asking the upstream again; `never`: it is not asked again. Or by patterns of tags, such as `{ "*": 5m, "v*": 24h, "sha-*": never }`: of those that match, the tag itself comes first, then the pattern with the most characters beside its `*`, then the one that is written first. Lists count as `*`.',
      keyPattern: '^[A-Za-z0-9_*][A-Za-z0-9._*-]{0,127}$',
      keyMustBe: 'a tag, with * for any part of it, such as v*',
      valueText: 'duration, `never`, or a map of them by pattern',
    }),
    staleIfError: duration({
      default: '30d',
      description: 'How long a tag may be served when the upstream cannot be asked.',
    }),
    staleIfDenied: duration({
      default: '30d',
      description:
        'The same while the upstream refuses the credentials of the gateway, as after they have expired; `0s`: not at all.',
    }),
    offline: Type.Boolean({
      default: false,
      description: 'Never ask this upstream: serve what the cache holds of it.',
    }),
    quotaFloor: Type.Integer({
      minimum: 0,
      maximum: 1_000_000,
      default: 10,
      description:
        'Where the registry tells how many pulls are left (`ratelimit-remaining`, as Docker Hub does): below so many, cached tags are asked for by HEAD only, which costs none, and served as they are, with a `Warning` header where they have moved.',
    }),
    onUpstreamDelete: oneOf(['keep', 'drop'], {
      default: 'keep',
      description:
        'What becomes of a cached tag that the registry itself says it has no more: it is served on, with a `Warning` header, or forgotten. An outage, refused credentials and a 404 that is not that of a registry take nothing away.',
    }),
    negativeTtl: duration({
      default: '30s',
      description:
        'How long it is remembered that the registry does not have something; `0s`: it is asked each time.',
    }),
    rewrite: Type.Optional(
      Type.Array(Rewrite, {
        description:
          'Other names that repositories have at this upstream, before policy sees them; the first rule that matches is used.',
      }),
    ),
    redirects: Type.Optional(
      hostPatterns('Hosts that a blob may be redirected to, without credentials.', {
        defaultText: 'none; the well-known registries have their own',
      }),
    ),
    foreignLayers: Type.Optional(
      oneOf(['refuse', 'fetch'], {
        defaultText: '`fetch` where `redirects` is written, `refuse` where it is not',
        description:
          'Layers that the registry does not hold and a manifest has addresses of, such as those of Windows: refused, or fetched from there, without credentials, and kept. Only hosts of `redirects` are asked.',
      }),
    ),
    caseSensitive: Type.Boolean({
      default: false,
      description: 'Whether its repository names may have capitals, as those of model registries.',
    }),
    proxy,
    maxRate: Type.Optional(
      byPattern(rate({ description: 'So much.' }), {
        keyPattern: hoursOfDay,
        keyMustBe: 'hours of the day such as 08-18 or 22:30-06',
        valueText: "rate, or rates by hours such as `{'08-18': 5Mbit/s}`",
        defaultText: 'no limit',
        description:
          'How much may come from this upstream, for clients and in the background together. By hours, in local time: outside of them there is no limit, and of several that fit the first one counts.',
      }),
    ),
    prefetch: oneOf(['none', 'platform', 'all'], {
      default: 'none',
      description:
        'What follows in the background after a client has pulled a manifest, so that an image that was started once is whole before the link dies: nothing, the blobs of that manifest, or also every platform of an index.',
    }),
    connectTimeout: limit({
      default: '5s',
      description: 'Longest wait for the TCP connection and the TLS handshake.',
    }),
    headersTimeout: limit({
      default: '20s',
      description: 'Longest wait for the headers of a response.',
    }),
    stallTimeout: limit({
      default: '30s',
      description: 'Longest pause between two pieces of a body.',
    }),
  },
  {
    ...closed,
    description: 'One upstream; its key is the name that clients use, such as `docker.io`.',
  },
)
