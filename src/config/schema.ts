// The config file: one schema that is type, validation and reference documentation at once.
import Type, { type StaticDecode, type TSchema } from 'typebox'
import { parseDuration, parseSize } from './units.ts'

const closed = { additionalProperties: false }

const Size = Type.Codec(
  Type.Refine(
    Type.String(),
    (text) => parseSize(text) !== undefined,
    () => 'must be a size such as 50GiB',
  ),
)
  .Decode((text) => parseSize(text) ?? 0)
  .Encode((bytes) => `${bytes}B`)

const Duration = Type.Codec(
  Type.Refine(
    Type.String(),
    (text) => parseDuration(text) !== undefined,
    () => 'must be a duration such as 5m',
  ),
)
  .Decode((text) => parseDuration(text) ?? 0)
  .Encode((ms) => `${ms}ms`)

/** A codec's default must be written in its encoded form, which its type does not allow. */
function defaulted<T extends TSchema>(schema: T, value: string): T {
  return { ...schema, default: value }
}

const Path = Type.String({ minLength: 1 })

const ListenerTls = Type.Object(
  {
    cert: Type.Optional(Path),
    key: Type.Optional(Path),
    minVersion: Type.Enum(['TLSv1.2', 'TLSv1.3'], { default: 'TLSv1.2' }),
    clientAuth: Type.Enum(['none', 'optional', 'required'], { default: 'none' }),
    clientCa: Type.Array(Path, { default: [] }),
  },
  { ...closed, default: {} },
)

const UpstreamTls = {
  verify: Type.Boolean({ default: true }),
  ca: Type.Optional(Path),
  cert: Type.Optional(Path),
  key: Type.Optional(Path),
  pfx: Type.Optional(Path),
  passphraseFile: Type.Optional(Path),
  serverName: Type.Optional(Type.String({ minLength: 1 })),
}

const UpstreamAuth = {
  username: Type.Optional(Type.String({ minLength: 1 })),
  passwordFile: Type.Optional(Path),
  passwordEnv: Type.Optional(Type.String({ minLength: 1 })),
  dockerConfig: Type.Optional(Path),
  /** Hosts of token realms that are trusted although they are of another domain. */
  realms: Type.Array(Type.String(), { default: [] }),
}

const Upstream = Type.Object(
  {
    url: Type.Optional(Type.String()),
    tls: Type.Object(UpstreamTls, { ...closed, default: {} }),
    auth: Type.Object(UpstreamAuth, { ...closed, default: {} }),
    tagTtl: defaulted(Duration, '5m'),
    staleIfError: defaulted(Duration, '30d'),
    redirects: Type.Optional(Type.Array(Type.String())),
    proxy: Type.Optional(Type.String()),
    connectTimeout: defaulted(Duration, '5s'),
    headersTimeout: defaulted(Duration, '20s'),
    stallTimeout: defaulted(Duration, '30s'),
  },
  closed,
)

export const ConfigSchema = Type.Object(
  {
    listen: Type.Object(
      {
        host: Type.String({ default: '0.0.0.0' }),
        port: Type.Integer({ minimum: 0, maximum: 65535, default: 5443 }),
        insecureHttp: Type.Boolean({ default: false }),
        tls: ListenerTls,
      },
      { ...closed, default: {} },
    ),
    admin: Type.Object(
      {
        host: Type.String({ default: '127.0.0.1' }),
        port: Type.Integer({ minimum: 0, maximum: 65535, default: 5480 }),
        tls: ListenerTls,
      },
      { ...closed, default: {} },
    ),
    cache: Type.Object(
      {
        dir: defaulted(Path, '/var/lib/portcullis'),
        memoryBytes: defaulted(Size, '128MiB'),
      },
      { ...closed, default: {} },
    ),
    upstreams: Type.Record(Type.String(), Upstream, { default: {} }),
    defaultUpstream: Type.Optional(Type.String()),
    offline: Type.Boolean({ default: false }),
    log: Type.Object(
      {
        level: Type.Enum(['debug', 'info', 'warn', 'error', 'silent'], { default: 'info' }),
        pretty: Type.Boolean({ default: false }),
      },
      { ...closed, default: {} },
    ),
  },
  closed,
)

/** The effective config: defaults filled in, sizes in bytes, durations in ms, paths absolute. */
export type Config = Omit<StaticDecode<typeof ConfigSchema>, 'upstreams'> & {
  upstreams: Record<string, UpstreamConfig>
}

export type ListenerTlsConfig = StaticDecode<typeof ListenerTls>

/** One upstream with its URL (no trailing slash) and allowed redirect hosts resolved. */
export type UpstreamConfig = StaticDecode<typeof Upstream> & { url: string; redirects: string[] }
