// The way through an HTTP proxy: a tunnel to an https upstream, whole requests to an http one.
import { createServer, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { ask, startUpstreams } from '../helpers/ask.ts'
import { testPki } from '../helpers/tls.ts'
import { startUpstream } from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 1000 })
const pki = await testPki()

type OnConnect = (req: IncomingMessage, socket: Socket) => void

const tunnel: OnConnect = (req, socket) => {
  const { hostname, port } = new URL(`http://${req.url}`)
  const onward = connect(Number(port), hostname, () => {
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
    onward.pipe(socket).pipe(onward)
  })
  onward.on('error', () => socket.destroy())
  socket.on('error', () => onward.destroy())
}

async function startProxy(t: Test, onConnect: OnConnect = tunnel) {
  const seen: string[] = []
  const sockets = new Set<Socket>()
  const proxy = createServer((req, res) => {
    seen.push(`${req.method} ${req.url}`)
    res.writeHead(200, { 'content-type': 'text/plain' }).end('from the proxy')
  })
  proxy.on('connect', (req: IncomingMessage, socket: Socket) => {
    seen.push(`CONNECT ${req.url}`)
    onConnect(req, socket)
  })
  proxy.on('connection', (socket: Socket) => sockets.add(socket))
  await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    proxy.close()
  })
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, seen }
}

async function startRegistry(t: Test, served = image) {
  const { certificatePem: cert, keyPem: key } = pki.server
  const ca = pki.ca.certificatePem
  const tls = { cert, key, ca, requestCert: true, rejectUnauthorized: true }
  const registry = await startUpstream(t, { repositories: { app: served }, tls })
  const folder = t.testdir({ ca, cert: pki.client.certificatePem, key: pki.client.keyPem })
  const files = { ca: join(folder, 'ca'), cert: join(folder, 'cert'), key: join(folder, 'key') }
  return { registry, files, url: `https://localhost:${registry.port}` }
}

t.test('two-way TLS through a tunnel', async (t) => {
  const { registry, files, url } = await startRegistry(t)
  const proxy = await startProxy(t)
  const client = startUpstreams(t, { url, tls: files, proxy: proxy.url })
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.match(registry.requests, [{ peerSubject: 'CN=client' }, { peerSubject: 'CN=client' }])
  t.ok(proxy.seen.every((line) => line === `CONNECT localhost:${registry.port}`))
})

t.test('content arrives whole through a tunnel, also after a pause', async (t) => {
  const large = await buildSampleImage({ layerBytes: 3_000_000 })
  const [digest, bytes] = [...large.blobs].sort(([, a], [, b]) => b.length - a.length)[0] ?? []
  const { files, url } = await startRegistry(t, large)
  const proxy = await startProxy(t)
  const client = startUpstreams(t, { url, tls: files, proxy: proxy.url })
  for (const isPaused of [false, true]) {
    const { body } = await ask(client.open, { resource: `blobs/${digest}` }, (flow) => {
      if (!isPaused) return
      flow.pause()
      setTimeout(() => flow.resume(), 100)
    })
    t.ok(bytes?.equals(body))
  }
})

t.test('the certificate behind the tunnel is checked', async (t) => {
  const { registry, files, url } = await startRegistry(t)
  const proxy = await startProxy(t)
  const wrongName = { ...files, serverName: 'elsewhere.example' }
  for (const [tls, reason] of [
    [{}, 'unknown_ca'],
    [wrongName, 'wrong_name'],
    [{ ca: files.ca }, 'client_certificate_required'],
  ] as const) {
    const client = startUpstreams(t, { url, tls, proxy: proxy.url })
    t.match((await ask(client.open, {})).error, { code: 'UPSTREAM_FAILED', reason })
  }
  t.equal(registry.requests.length, 0)
})

t.test('an http upstream is asked by the proxy', async (t) => {
  const proxy = await startProxy(t)
  const client = startUpstreams(t, { url: 'http://registry.invalid', proxy: proxy.url })
  const { response, body } = await ask(client.open, {})
  t.equal(response?.status, 200)
  t.equal(body.toString(), 'from the proxy')
  t.same(proxy.seen, ['GET http://registry.invalid/v2/app/manifests/latest'])
})

t.test('proxies that do not do their work', async (t) => {
  const { registry, files, url } = await startRegistry(t)
  for (const [onConnect, expected] of [
    [(_: unknown, socket: Socket) => socket.end('HTTP/1.1 407 No\r\n\r\n'), { reason: 'proxy' }],
    [(_: unknown, socket: Socket) => socket.end('HTTP/1.1 502 No\r\n\r\n'), { reason: 'proxy' }],
    [(_: unknown, socket: Socket) => socket.destroy(), { reason: 'proxy' }],
    [() => {}, { code: 'UPSTREAM_TIMEOUT', reason: 'timeout' }],
  ] as [OnConnect, object][]) {
    const proxy = await startProxy(t, onConnect)
    const client = startUpstreams(t, { url, tls: files, proxy: proxy.url, connectTimeout: 300 })
    t.match((await ask(client.open, {})).error, expected)
  }
  const absent = startUpstreams(t, { url, tls: files, proxy: 'http://127.0.0.1:1' })
  const { error } = await ask(absent.open, {})
  t.match(error, { code: 'UPSTREAM_FAILED', reason: 'proxy' })
  t.match(error?.message, 'upstreams.up.proxy')
  t.equal(registry.requests.length, 0)
})
