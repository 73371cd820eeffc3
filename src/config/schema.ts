// The config file: one schema that is type, validation and reference documentation at once.
import Type, { type StaticDecode } from 'typebox'
import { AuditSchema, Auth, ListenLimits, PolicySchema } from './access-schema.ts'
import {
  CacheSchema,
  closed,
  duration,
  host,
  hostPatterns,
  limit,
  namePattern,
  oneOf,
  path,
  port,
  section,
  text,
} from './schema-parts.ts'

const listenerTls = {
  cert: Type.Optional(path('PEM certificate of the server, followed by its intermediates.')),
  key: Type.Optional(path('PEM private key that belongs to `cert`, not encrypted.')),
  minVersion: oneOf(['TLSv1.2', 'TLSv1.3'], {
    default: 'TLSv1.2',
    description: 'The oldest protocol version that is accepted.',
  }),
  clientAuth: oneOf(['none', 'optional', 'required'], {
    default: 'none',
    description:
      'Client certificates: not asked for; checked when presented; or demanded, so that the handshake fails without one.',
  }),
  clientCa: Type.Array(path('One PEM file of certificate authorities.'), {
    default: [],
    description:
      'The authorities that client certificates must come from, and with `crl` the intermediate ones as well.',
  }),
  crl: Type.Array(path('One file of revocation lists: PEM with any number of them, or DER.'), {
    default: [],
    description:
      'Certificate revocation lists, each signed by an authority of `clientCa`. An authority without one is not checked.',
  }),
  crlMaxStale: duration({
    default: '0s',
    description:
      'How long a revocation list still serves after its end (`nextUpdate`), for disconnected sites; after that, everybody whom it is for is refused.',
  }),
  crlRollback: Type.Boolean({
    default: false,
    description:
      'Whether a reload may replace a revocation list by an older one, as after an authority was restored from a backup; whoever was revoked since may come back.',
  }),
}

const ListenerTls = Type.Object(listenerTls, section('TLS of this listener.'))

const upstreamTls = {
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

const Upstream = Type.Object(
  {
    url: Type.Optional(
      text(
        'Where the registry is, without `/v2`; or a part of a registry, such as a Harbor project, whose repositories are named without it: `https://harbor.example/v2/dockerhub`.',
        {
          valueText: 'URL',
          defaultText: '`https://<name>`; the well-known registries have their own',
        },
      ),
    ),
    tls: Type.Object(upstreamTls, section('TLS towards this upstream.')),
    auth: Type.Object(upstreamAuth, section('Credentials for this upstream; none: anonymous.')),
    tagTtl: duration({
      default: '5m',
      description: 'How long a tag or a list is served without asking the upstream again.',
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
    proxy: Type.Optional(text('An HTTP proxy on the way to this upstream.', { valueText: 'URL' })),
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

/** A registry's name as image references have it: host, maybe a port. */
const upstreamName = String.raw`^(\[[0-9a-f:]+\]|[a-z0-9]([a-z0-9._-]*[a-z0-9])?)(:\d{1,5})?$`

export const ConfigSchema = Type.Object(
  {
    listen: Type.Object(
      {
        host: host('Address that the gateway listens on.', '0.0.0.0'),
        port: port('Port that it listens on; 0 takes any free one, told in the log.', 5443),
        insecureHttp: Type.Boolean({
          default: false,
          description: 'Serve plain HTTP, without any TLS. Warned about at every start.',
        }),
        grace: duration({
          default: '25s',
          description:
            'How long transfers may go on after SIGTERM. What is cut then makes the exit code 1. Kubernetes kills after 30 s unless told.',
        }),
        limits: ListenLimits,
        tls: ListenerTls,
      },
      section('The listener that clients pull from.'),
    ),
    admin: Type.Object(
      {
        host: host('Address of the admin listener; without TLS only a loopback one.', '127.0.0.1'),
        port: port('Port of the admin listener; 0 takes any free one.', 5480),
        names: Type.Array(text('One host name.'), {
          default: [],
          description:
            'Further names by which the admin listener may be asked, beside `localhost`, its addresses and the names in its certificate. Any other Host is refused: it may be a page of somebody else.',
        }),
        tls: ListenerTls,
      },
      section('The listener for health checks, metrics and the API documents.'),
    ),
    auth: Auth,
    policy: PolicySchema,
    audit: AuditSchema,
    cache: CacheSchema,
    upstreams: Type.Record(Type.String(), Upstream, {
      default: {},
      description: 'The registries that may be pulled from, by name. Nothing else is ever asked.',
      keyPattern: upstreamName,
      keyMustBe: "a registry's lower-case host name such as docker.io or registry.local:5000",
      keyLabel: 'name',
    }),
    defaultUpstream: Type.Optional(
      text('The upstream of requests that name none; must be one of `upstreams`.'),
    ),
    offline: Type.Boolean({
      default: false,
      description: 'Never ask an upstream: serve what the cache holds.',
    }),
    log: Type.Object(
      {
        level: oneOf(['debug', 'info', 'warn', 'error', 'silent'], {
          default: 'info',
          description: 'The least severe level that is written.',
        }),
        pretty: Type.Boolean({
          default: false,
          description: 'Lines for people instead of JSON, for a terminal.',
        }),
      },
      section('The log on standard output.'),
    ),
  },
  closed,
)

/** The effective config: defaults filled in, sizes in bytes, durations in ms, paths absolute. */
export type Config = Omit<StaticDecode<typeof ConfigSchema>, 'upstreams'> & {
  upstreams: Record<string, UpstreamConfig>
}

export type { ListenLimits } from './access-schema.ts'

export type ListenerTlsConfig = StaticDecode<typeof ListenerTls>

/** One upstream with what follows from its name resolved: its URL has no trailing slash. */
export type UpstreamConfig = StaticDecode<typeof Upstream> & {
  url: string
  redirects: string[]
  foreignLayers: 'refuse' | 'fetch'
}
