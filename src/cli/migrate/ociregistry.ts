// From the config of ociregistry (github.com/aceeric/ociregistry), also of its older form, a list of registries.
import type { ForeignConfig } from './source.ts'
import { compact, passwordAuth, listenerOf, upstreamAt, type Draft } from './upstream.ts'

const levels: Record<string, string> = { trace: 'debug', fatal: 'error', panic: 'error' }

export function fromOciregistry(source: ForeignConfig): Draft {
  const level = source.text('logLevel')
  const timeout = source.number('pullTimeout')
  const isLatestPulled = source.flag('alwaysPullLatest')
  const more = compact({
    headersTimeout: timeout === undefined ? undefined : `${timeout}ms`,
    tagTtl: isLatestPulled ? { latest: '0s', '*': '5m' } : undefined,
  })
  const registries = [...source.list(''), ...source.list('registries')]
  const upstreams = Object.fromEntries(registries.map((one) => upstreamOf(one, more)))
  const port = source.number('port') ?? 8080
  notes(source)
  return compact({
    listen: listenerOf({ port }, listenerTls(source)),
    admin: source.has('health') ? { port: source.number('health') } : undefined,
    upstreams: { 'docker.io': more, ...upstreams },
    defaultUpstream: 'docker.io',
    offline: source.flag('airGapped') ? true : undefined,
    log: level === undefined ? undefined : { level: levels[level] ?? level },
  })
}

function upstreamOf(registry: ForeignConfig, more: Draft): [string, Draft] {
  const address = registry.text('name') ?? ''
  const scheme = registry.text('scheme') ?? 'https'
  const { name, url } = upstreamAt(`${scheme}://${address}`, `${registry.path}.name`)
  registry.text('description')
  const isUnchecked =
    registry.flag('tls.insecureSkipVerify') || registry.flag('tls.insecure_skip_verify')
  const tls = {
    ca: registry.text('tls.ca'),
    cert: registry.text('tls.cert'),
    key: registry.text('tls.key'),
    verify: isUnchecked ? false : undefined,
  }
  if (scheme === 'https' && !registry.has('tls')) {
    registry.note('tls', 'was not checked without this section; here it is: name its CA in tls.ca')
  }
  const passwordEnv = registry.text('auth.passwordFromEnv')
  const auth =
    passwordEnv === undefined
      ? passwordAuth(registry, { user: 'auth.user', password: 'auth.password' }, name)
      : { username: registry.text('auth.user'), passwordEnv }
  return [name, compact({ url, tls: isEmpty(tls) ? undefined : tls, auth, ...more })]
}

function isEmpty(draft: Draft): boolean {
  return Object.values(draft).every((value) => value === undefined)
}

function listenerTls(source: ForeignConfig): Draft {
  const ca = source.text('serverTlsConfig.ca')
  const isVerified = source.text('serverTlsConfig.clientAuth') === 'verify'
  if (isVerified && ca === undefined) {
    source.note(
      'serverTlsConfig.clientAuth',
      'needs listen.tls.clientCa here: no public CA is trusted',
    )
  }
  return compact({
    cert: source.text('serverTlsConfig.cert'),
    key: source.text('serverTlsConfig.key'),
    clientAuth: isVerified && ca !== undefined ? 'required' : undefined,
    clientCa: ca === undefined ? undefined : [ca],
  })
}

function notes(source: ForeignConfig): void {
  const told: [key: string, message: string][] = [
    ['imagePath', 'its images are not read; fill cache.dir by `portcullis preload`'],
    ['logFile', 'the log goes to standard output'],
    ['preloadImages', 'run `portcullis preload FILE`, or name the images in shelf'],
    ['imageFile', 'run `portcullis preload FILE`'],
    ['os', 'belongs to `portcullis preload --platform OS/ARCH`, and platforms of the shelf'],
    ['arch', 'belongs to `portcullis preload --platform OS/ARCH`, and platforms of the shelf'],
    [
      'health',
      '/healthz and /readyz are on the admin listener, which is on loopback unless it has TLS',
    ],
    [
      'pruneConfig',
      'run `portcullis prune --not-pulled-for AGE` or `--older-than AGE` from a timer',
    ],
  ]
  for (const [key, message] of told) if (source.has(key)) source.note(key, message)
  source.note('registries', 'only registries that are named in upstreams are asked: add the others')
}
