// From the config of distribution (registry:2 and 3) as a mirror, with `proxy`.
import { basename } from 'node:path'
import { UsageError } from '../../errors.ts'
import type { ForeignConfig } from './source.ts'
import { compact, passwordAuth, listenerOf, upstreamAt, type Draft } from './upstream.ts'

const clientAuth: Record<string, string> = {
  'require-and-verify-client-cert': 'required',
  'verify-client-cert-if-given': 'optional',
}

/** Throws UsageError for a registry that is no mirror. */
export function fromDistribution(source: ForeignConfig): Draft {
  const remote = source.text('proxy.remoteurl')
  if (remote === undefined) {
    const message = 'is missing: only a mirror has a counterpart; push cannot be had here'
    throw new UsageError([{ path: 'proxy.remoteurl', message }])
  }
  const { name, url } = upstreamAt(remote, 'proxy.remoteurl')
  const level = source.text('log.level') ?? source.text('loglevel')
  source.text('version')
  notes(source)
  return compact({
    listen: listenerOf(addressOf(source.text('http.addr') ?? ':5000'), listenerTls(source)),
    admin: adminOf(source),
    auth: authOf(source),
    upstreams: { [name]: { url, auth: upstreamAuth(source, name) } },
    defaultUpstream: name,
    log: level === undefined ? undefined : { level },
  })
}

function addressOf(address: string): Draft {
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(address) ?? []
  return compact({
    host: host === '' ? undefined : host.replaceAll(/[[\]]/g, ''),
    port: Number(port),
  })
}

function adminOf(source: ForeignConfig): Draft | undefined {
  const address = source.text('http.debug.addr')
  if (address === undefined) return undefined
  source.note(
    'http.debug',
    'health and /metrics are on the admin listener: on loopback unless it has TLS',
  )
  return { port: addressOf(address)['port'] }
}

function listenerTls(source: ForeignConfig): Draft {
  const wanted = source.text('http.tls.clientauth')
  const authorities = source.texts('http.tls.clientcas')
  const minimum = source.text('http.tls.minimumtls')
  const isAsked = authorities.length > 0
  if (wanted !== undefined && clientAuth[wanted] === undefined) {
    source.note('http.tls.clientauth', 'is stricter here: a certificate that is sent is checked')
  }
  return compact({
    cert: source.text('http.tls.certificate'),
    key: source.text('http.tls.key'),
    minVersion: minimum === 'tls1.3' ? 'TLSv1.3' : undefined,
    clientAuth: isAsked ? (clientAuth[wanted ?? ''] ?? 'required') : undefined,
    clientCa: isAsked ? authorities : undefined,
  })
}

/** Passwords in front of the mirror become those of the token service. */
function authOf(source: ForeignConfig): Draft | undefined {
  const htpasswd = source.text('auth.htpasswd.path')
  if (htpasswd === undefined) return undefined
  source.note('auth.htpasswd.realm', 'clients are led to /token of this gateway')
  return { require: 'token', tokenService: { key: 'secrets/token.key', htpasswd } }
}

function upstreamAuth(source: ForeignConfig, name: string): Draft | undefined {
  const program = source.text('proxy.exec.command')
  const helper = /^docker-credential-(.+)$/.exec(basename(program ?? ''))?.[1]
  if (helper !== undefined) return { helper }
  if (program !== undefined) {
    source.note('proxy.exec.command', 'only programs named docker-credential-NAME can be called')
  }
  return passwordAuth(source, { user: 'proxy.username', password: 'proxy.password' }, name)
}

function notes(source: ForeignConfig): void {
  const told: [key: string, message: string][] = [
    ['storage.filesystem', 'its content is not read; fill cache.dir by `portcullis preload`'],
    ['storage.delete', 'nothing is deleted by clients; `portcullis rm` takes images out'],
    ['storage.maintenance', 'the gateway looks after its cache by itself'],
    ['storage.cache', 'small objects are kept in memory: cache.memoryBytes'],
    [
      'proxy.ttl',
      'content is kept as long as there is room; tags are asked for again after tagTtl',
    ],
    ['http.secret', 'belongs to pushing'],
    ['http.tls.letsencrypt', 'bring the certificate as files, which are taken up when they change'],
    ['auth.token', 'write its issuer into auth.issuers, with the JWK set of its keys'],
    ['log.formatter', 'the log is JSON; log.pretty: true is for people'],
    ['log.accesslog', 'each request is one line of the log'],
    ['health.storagedriver', '/readyz of the admin listener tells of the disk'],
  ]
  for (const [key, message] of told) if (source.has(key)) source.note(key, message)
}
