// The admin listener over real connections.
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { createMetrics } from '../../src/admin/metrics.ts'
import { createAdmin, type Readiness } from '../../src/admin/server.ts'
import type { Config } from '../../src/config/schema.ts'
import { drain } from '../../src/listener/drain.ts'
import { listen } from '../../src/listener/server.ts'
import { makeCertificate } from '../helpers/certificates.ts'
import { exchange, makeSite, noTls, recordingLog } from '../helpers/listener.ts'

async function start(
  t: Test,
  readiness: () => Promise<Readiness> = async () => ({ ok: true, problems: [] }),
  tls: Config['admin']['tls'] = noTls,
) {
  const { log, lines } = recordingLog()
  const metrics = createMetrics()
  const config = { host: '127.0.0.1', port: 0, tls }
  const admin = createAdmin({ config, metrics, readiness, gatewayUrls: () => [], log })
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
  const state: Readiness = { ok: true, problems: [] }
  const { url } = await start(t, async () => state)
  const ready = await fetch(`${url}/readyz`)
  t.equal(ready.status, 200)
  t.same(await ready.json(), { status: 'ready', problems: [] })
  Object.assign(state, { ok: false, problems: ['cache.dir is not writable'] })
  const unready = await fetch(`${url}/readyz`)
  t.equal(unready.status, 503)
  t.same(await unready.json(), { status: 'not ready', problems: ['cache.dir is not writable'] })
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
    ['/', 'GET', 404],
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
