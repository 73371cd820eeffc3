// From Harbor as a proxy cache: its harbor.yml; or what its API says of registries and projects, as
// `{registries: […], projects: […]}` or the list of registries alone.
import { UsageError } from '../../errors.ts'
import type { ForeignConfig } from './source.ts'
import { compact, passwordAuth, listenerOf, upstreamAt, type Draft } from './upstream.ts'

/** Throws UsageError for what is neither. */
export function fromHarbor(source: ForeignConfig): Draft {
  const registries = [...source.list(''), ...source.list('registries')]
  if (registries.length > 0) return fromApi(source, registries)
  if (source.has('hostname')) return fromFile(source)
  const message = 'give harbor.yml, or the answer of /api/v2.0/registries'
  throw new UsageError([{ path: 'migrate harbor', message }])
}

function fromApi(source: ForeignConfig, registries: readonly ForeignConfig[]): Draft {
  const named = registries.map((registry) => ({
    id: registry.text('id'),
    ...upstreamOf(registry),
  }))
  for (const project of source.list('projects')) {
    const upstream = named.find(({ id }) => id === project.text('registry_id'))
    const name = project.text('name') ?? ''
    project.note(
      '',
      upstream === undefined
        ? `${name} is no proxy cache: name this Harbor as an upstream to pull from it`
        : `images of ${name}/… are asked for as ${upstream.name}/…`,
    )
  }
  const first = named.find(({ name }) => name === 'docker.io') ?? named[0]
  return {
    listen: tlsToMake,
    upstreams: Object.fromEntries(named.map(({ name, draft }) => [name, draft])),
    defaultUpstream: first?.name,
  }
}

/** The API does not tell of Harbor's own certificate. */
const tlsToMake = { tls: { cert: 'certs/gateway.local.crt', key: 'certs/gateway.local.key' } }

function upstreamOf(registry: ForeignConfig): { name: string; draft: Draft } {
  const { name, url } = upstreamAt(registry.text('url') ?? '', `${registry.path}.url`)
  for (const key of ['name', 'type', 'description', 'status', 'creation_time', 'update_time']) {
    registry.text(key)
  }
  registry.text('credential.type')
  const keys = { user: 'credential.access_key', password: 'credential.access_secret' }
  const auth = passwordAuth(registry, keys, name)
  const tls = registry.flag('insecure') ? { verify: false } : undefined
  return { name, draft: compact({ url, tls, auth }) }
}

function fromFile(source: ForeignConfig): Draft {
  const level = source.text('log.level')
  const isTls = source.has('https.certificate')
  const port = source.number(isTls ? 'https.port' : 'http.port') ?? (isTls ? 443 : 80)
  const proxy = source.text('proxy.https_proxy') ?? source.text('proxy.http_proxy')
  const told: [key: string, message: string][] = [
    ['hostname', 'the certificate has to name it, as it does now'],
    ['http', 'one port serves, by TLS'],
    ['data_volume', 'its content is not read; fill cache.dir by `portcullis preload`'],
    [
      'harbor_admin_password',
      'administration asks for a certificate or a token: see authorization',
    ],
    ['metric', '/metrics is on the admin listener'],
    ['trivy', 'nothing is scanned here: scan where images are made'],
  ]
  for (const [key, message] of told) if (source.has(key)) source.note(key, message)
  const tls = { cert: source.text('https.certificate'), key: source.text('https.private_key') }
  return compact({
    listen: listenerOf({ port }, compact(tls)),
    upstreams: { 'docker.io': { proxy } },
    defaultUpstream: 'docker.io',
    log: level === undefined ? undefined : { level: level === 'warning' ? 'warn' : level },
  })
}
