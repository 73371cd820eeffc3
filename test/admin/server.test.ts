// The admin listener over real connections.
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { createMetrics } from '../../src/admin/metrics.ts'
import type { Readiness } from '../../src/admin/readiness.ts'
import { createAdmin } from '../../src/admin/server.ts'
import type { Config } from '../../src/config/schema.ts'
import { drain } from '../../src/listener/drain.ts'
import { listen } from '../../src/listener/server.ts'
import { METHODS } from 'node:http'
import { makeCertificate } from '../helpers/certificates.ts'
import { sendRaw } from '../helpers/raw.ts'
import { defaultLimits, exchange, makeSite, noTls, recordingLog } from '../helpers/listener.ts'

/** Methods that routers do not know, and headers that cannot be read. */
const odd: [method: string, header: string][] = [
  ...METHODS.filter((method) => method !== 'CONNECT').map((method): [string, string] => [
    method,
    'Content-Length: 0',
  ]),
  ['POST', 'Content-Type: ;;;\r\nContent-Length: 0'],
  ['POST', 'Content-Type: application/json; charset="\r\nContent-Length: 1\r\n\r\n{'],
  ['PUT', 'Content-Type: \u00e9\r\nContent-Length: 1\r\n\r\n{'],
  ['GET', 'Accept: ;;q=é\r\nRange: bytes=x'],
  ['GET', 'If-None-Match: "\r\nIf-Modified-Since: never'],
]

async function start(
  t: Test,
  readiness: () => Promise<Readiness> = async () => ({ ok: true, problems: [], warnings: [] }),
  tls: Config['admin']['tls'] = noTls,
) {
  const { log, lines } = recordingLog()
  const metrics = createMetrics()
  const config = { host: '127.0.0.1', port: 0, names: ['admin.test'], tls }
  const admin = createAdmin({
    config,
    metrics,
    readiness,
    log,
    limits: () => defaultLimits,
    gatewayUrls: () => [],
  })
  await admin.ready()
  const port = await listen(admin.server, config.host, 0, 'admin')
  t.teardown(async () => {
    await drain(admin.server, 0)
    await admin.close()
  })
  return { port, metrics, lines, url: `http://127.0.0.1:${port}` }
}

t.test('/healthz', async (t) => {
  const { url } = await start(t, () => Promise.reject(new Error('not asked')))
  const response = await fetch(`${url}/healthz`)
  t.equal(response.status, 200)
  t.same(await response.json(), { status: 'alive' })
  t.equal(response.headers.get('cache-control'), 'no-store')
  t.equal((await fetch(`${url}/healthz`, { method: 'HEAD' })).status, 200)
})

t.test('/readyz names what is not ready', async (t) => {
  const state: Readiness = { ok: true, problems: [], warnings: [] }
  const { url } = await start(t, async () => state)
  const ready = await fetch(`${url}/readyz`)
  t.equal(ready.status, 200)
  t.same(await ready.json(), { status: 'ready', problems: [], warnings: [] })
  Object.assign(state, {
    ok: false,
    problems: ['cache.dir is not writable'],
    warnings: ['one authority of two has expired'],
  })
  const unready = await fetch(`${url}/readyz`)
  t.equal(unready.status, 503)
  t.match(await unready.json(), {
    status: 'not ready',
    problems: ['cache.dir is not writable'],
    warnings: ['one authority of two has expired'],
  })
})

t.test('a readiness check that throws is told without its message', async (t) => {
  const { url, lines } = await start(t, () => Promise.reject(new Error('secret path')))
  const response = await fetch(`${url}/readyz`)
  t.equal(response.status, 503)
  t.notMatch(await response.text(), /secret/)
  t.match(lines, [{ level: 50, err: { message: 'secret path' } }])
})

t.test('/metrics', async (t) => {
  const { url, metrics } = await start(t)
  metrics.lookup('hit')
  const response = await fetch(`${url}/metrics`)
  t.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
  const text = await response.text()
  t.match(text, /^portcullis_cache_lookups_total\{result="hit"\} 1$/m)
  t.match(text, /^process_resident_memory_bytes /m)
})

t.test('everything else is an OCI body', async (t) => {
  const { url, port } = await start(t)
  for (const [path, method, status] of [
    ['/nothing', 'GET', 404],
    ['/healthz', 'POST', 404],
    ['/%zz', 'GET', 400],
  ] as const) {
    const response = await fetch(`${url}${path}`, { method })
    t.equal(response.status, status, path)
    t.match(await response.json(), { errors: [{ code: String, message: String }] })
  }
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  socket.write('NONSENSE\r\n\r\n')
  await once(socket, 'close')
  t.match(text, /^HTTP\/1\.1 400 .*"REQUEST_INVALID"[^\n]*\}\]\}$/s, 'once, and whole')
})

t.test('with TLS, callers whose certificate is wrong are refused and counted', async (t) => {
  const site = await makeSite(t, { clientAuth: 'optional' })
  const { port, metrics } = await start(t, undefined, site.tls)
  const other = await makeCertificate({ subject: 'CN=Other', ca: true })
  const wrong = await makeCertificate({ subject: 'CN=x', issuer: other, purposes: ['client'] })
  const call = (client?: typeof wrong) =>
    exchange(
      {
        port,
        ca: site.ca.certificatePem,
        ...(client && { cert: client.certificatePem, key: client.keyPem }),
      },
      'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    )
  t.match((await call(site.client)).text, /^HTTP\/1\.1 200 /)
  t.match((await call()).text, /^HTTP\/1\.1 200 /)
  t.match((await call(wrong)).text, /^HTTP\/1\.1 403 .*DENIED/s)
  t.match(await metrics.registry.metrics(), /refused_callers_total\{reason="unknown_ca"\} 1$/m)
})

t.test('a Host that is not the listener is refused: a page may have made it up', async (t) => {
  const site = await makeSite(t)
  const plain = await start(t)
  const secure = await start(t, undefined, site.tls)
  const ask = async (host: string | undefined, port = plain.port) => {
    const header = host === undefined ? [] : [`Host: ${host}`]
    const head = ['GET /metrics HTTP/1.0', ...header, 'Connection: close', '', ''].join('\r\n')
    const text =
      port === plain.port
        ? await sendRaw(port, head)
        : (await exchange({ port, ca: site.ca.certificatePem }, head)).text
    return Number(/^HTTP\/1.1 (\d{3})/.exec(text)?.[1])
  }
  const own = ['localhost', 'LOCALHOST:1', '127.0.0.1', '127.0.0.1:5480', '127.1.2.3', '[::1]:1']
  for (const host of [...own, 'admin.test', 'Admin.Test:80', undefined]) {
    t.equal(await ask(host), 200, String(host))
    t.equal(await ask(host, secure.port), 200, `${host} by TLS`)
  }
  const foreign = ['evil.example', 'evil.example:5480', 'localhost.evil.example', '192.0.2.1']
  for (const host of [...foreign, '127.0.0.1.evil.example', '[2001:db8::1]']) {
    t.equal(await ask(host), 403, host)
    t.equal(await ask(host, secure.port), 403, `${host} by TLS`)
  }
  for (const host of ['a b', '', ':80', 'localhost@evil.example']) {
    t.equal(await ask(host), 400, host)
  }
})

t.test('what cannot be understood is 4xx on every route', async (t) => {
  const { port, lines } = await start(t)
  for (const path of [
    '/healthz',
    '/metrics',
    '/docs',
    '/docs/static/..',
    '/docs/static/%2e%2e/x',
    '/x',
  ]) {
    for (const [method, header] of odd) {
      const text = await sendRaw(
        port,
        `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${header}\r\n\r\n`,
      )
      t.match(text, /^HTTP\/1.1 [2-4]\d\d /, `${method} ${path} ${header}`)
    }
  }
  t.same(
    lines.filter(({ level }) => Number(level) >= 50),
    [],
  )
})
