// The config file: one schema that is type, validation and reference documentation at once.
import Type, { type Static } from 'typebox'
import { AuditSchema, Auth, ListenLimits, PolicySchema } from './access-schema.ts'
import { CacheSchema } from './cache/schema.ts'
import {
  closed,
  duration,
  host,
  network,
  logLevel,
  oneOf,
  path,
  port,
  section,
  text,
} from './schema-parts.ts'
import { ShelfSchema, type ShelfEntry } from './shelf/schema.ts'
import { ReplicasSchema } from './upstream/replicas.ts'
import { UpstreamSchema } from './upstream/schema.ts'
import { workers } from './workers/schema.ts'

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
        leaveDelay: duration({
          default: '0s',
          description:
            'How long after SIGTERM everybody is served as before while `/readyz` says 503, so that a load balancer and other replicas leave first; `grace` begins after it.',
        }),
        proxyProtocol: Type.Array(network('An address, or a network such as `10.0.0.0/8`.'), {
          default: [],
          description:
            'Load balancers that pass TCP through and say whom they speak for, by the PROXY protocol version 2. Their connections have to begin with its header; no other address is believed.',
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
    upstreams: Type.Record(Type.String(), UpstreamSchema, {
      default: {},
      description: 'The registries that may be pulled from, by name. Nothing else is ever asked.',
      keyPattern: upstreamName,
      keyMustBe: "a registry's lower-case host name such as docker.io or registry.local:5000",
      keyLabel: 'name',
    }),
    defaultUpstream: Type.Optional(
      text('The upstream of requests that name none; must be one of `upstreams`.'),
    ),
    replicas: ReplicasSchema,
    workers,
    shelf: ShelfSchema,
    offline: Type.Boolean({
      default: false,
      description: 'Never ask an upstream: serve what the cache holds.',
    }),
    traces: Type.Object(
      {
        endpoint: Type.Optional(
          text(
            'The collector that traces are sent to by OTLP over HTTP, such as `http://127.0.0.1:4318/v1/traces`; without it there are none, at no cost.',
            {
              pattern: '^https?://[^/]+/.+$',
              mustBe: 'an address with its path, such as http://127.0.0.1:4318/v1/traces',
              valueText: 'URL',
            },
          ),
        ),
        ratio: Type.Number({
          minimum: 0,
          maximum: 1,
          default: 1,
          description:
            'The share of requests that are traced, where whoever asks has not decided it (`traceparent`).',
        }),
      },
      section(
        'Traces by OpenTelemetry: a span for each request, its cache and each attempt upstream.',
      ),
    ),
    log: Type.Object(
      {
        level: logLevel({
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
export type Config = Omit<Static<typeof ConfigSchema>, 'upstreams' | 'shelf'> & {
  upstreams: Record<string, UpstreamConfig>
  shelf: ShelfConfig
}

/** `file`: where the entries are from, where they have a file of their own. */
export interface ShelfConfig {
  file: string | undefined
  entries: ShelfEntry[]
}

export type { ListenLimits } from './access-schema.ts'

export type ListenerTlsConfig = Static<typeof ListenerTls>

/**
 * One upstream with what follows from its name resolved: its URLs have no trailing slash. Only where it
 * has `endpoints` may it have no URL of its own: see `endpointsOf`.
 */
export type UpstreamConfig = Static<typeof UpstreamSchema> & {
  redirects: string[]
  foreignLayers: 'refuse' | 'fetch'
}
