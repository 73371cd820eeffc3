// Listening, plain HTTP, and the orderly end.
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import t, { type Test } from 'tap'
import { drain } from '../../src/listener/drain.ts'
import { createServer, listen } from '../../src/listener/server.ts'
import { defaultLimits, makeSite, recordingLog, startListener, noTls } from '../helpers/listener.ts'
import { problemsOf } from '../helpers/problems.ts'

const get = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n'

t.test('plain HTTP is warned about; the admin listener on loopback is not', async (t) => {
  const { log, lines } = recordingLog()
  const options = {
    handler: () => undefined,
    log,
    limits: () => defaultLimits,
    onHandshakeFailure: () => undefined,
  }
  const base = { host: '127.0.0.1', port: 0, tls: noTls }
  createServer(base, { ...options, section: 'admin' })
  t.same(lines, [])
  createServer({ ...base, insecureHttp: true }, options)
  t.match(lines, [{ level: 40, msg: /plain HTTP/ }])
})

t.test('a port in use and a foreign address are told by their key', async (t) => {
  const { log } = recordingLog()
  const { port } = await startListener(t, { insecureHttp: true, tls: noTls }, () => undefined)
  const options = {
    handler: () => undefined,
    log,
    limits: () => defaultLimits,
    onHandshakeFailure: () => undefined,
  }
  const another = () =>
    createServer({ host: '127.0.0.1', port, insecureHttp: true, tls: noTls }, options)
  t.match(await problemsOf(listen(another(), '127.0.0.1', port)), [
    { path: 'listen.port', message: `${port} is taken by another program` },
  ])
  t.match(await problemsOf(listen(another(), '192.0.2.1', 0, 'admin')), [{ path: 'admin.host' }])
  t.match(await problemsOf(listen(another(), 'name.invalid', 0)), [{ path: 'listen.host' }])
})

/** A listener that begins each response and hands out what ends it. */
async function slowListener(t: Test, secure: boolean, limits = defaultLimits) {
  const begun: ServerResponse[] = []
  let arrived = () => undefined as void
  const site = await makeSite(t)
  const tls = secure ? site.tls : noTls
  const listener = await startListener(t, { insecureHttp: !secure, tls, limits }, (_req, res) => {
    res.writeHead(200, { 'content-length': 8 })
    res.write('half')
    begun.push(res)
    arrived()
  })
  const open = async () => {
    const { port } = listener
    const socket = secure
      ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
      : connect(port, '127.0.0.1')
    const received = { text: '' }
    socket.on('data', (chunk: Buffer) => (received.text += chunk.toString()))
    socket.on('error', () => undefined)
    await once(socket, secure ? 'secureConnect' : 'connect')
    return { socket, received, closed: once(socket, 'close') }
  }
  const request = async () => {
    const client = await open()
    const next = new Promise<void>((resolve) => (arrived = resolve))
    client.socket.write(get)
    await next
    return client
  }
  return { ...listener, begun, open, request }
}

for (const secure of [true, false]) {
  const kind = secure ? 'TLS' : 'plain'

  t.test(`drain lets a transfer end and closes the silent and the idle, ${kind}`, async (t) => {
    const rig = await slowListener(t, secure)
    const idle = await rig.request()
    rig.begun[0]?.end('half')
    const silent = await rig.open()
    const busy = await rig.request()
    const drained = drain(rig.server, 20_000)
    await idle.closed
    await silent.closed
    t.equal(busy.socket.destroyed, false)
    const late = connect(rig.port, '127.0.0.1')
    const [refusal] = (await once(late, 'error')) as [NodeJS.ErrnoException]
    t.equal(refusal.code, 'ECONNREFUSED')
    rig.begun[1]?.end('half')
    t.equal(await drained, 0)
    await busy.closed
    t.match(busy.received.text, /halfhalf$/)
  })

  t.test(`drain destroys what is left after its grace, ${kind}`, async (t) => {
    const rig = await slowListener(t, secure)
    const busy = await rig.request()
    t.equal(await drain(rig.server, 50), 1)
    await busy.closed
    t.match(busy.received.text, /\r\n\r\nhalf$/)
  })
}

t.test('draining a server that does not listen is nothing', async (t) => {
  const { log } = recordingLog()
  const options = {
    handler: () => undefined,
    log,
    limits: () => defaultLimits,
    onHandshakeFailure: () => undefined,
  }
  const server = createServer(
    { host: '127.0.0.1', port: 0, insecureHttp: true, tls: noTls },
    options,
  )
  t.equal(await drain(server, 1000), 0)
})

t.test('connections above the limit are refused, counted and logged once', async (t) => {
  const rig = await slowListener(t, false, { ...defaultLimits, connections: 1 })
  const first = await rig.request()
  for (let turn = 0; turn < 3; turn += 1) {
    const refused = rig.nextFailure()
    const socket = connect(rig.port, '127.0.0.1')
    socket.on('error', () => undefined)
    t.equal(await refused, 'too_many_connections')
    socket.destroy()
  }
  t.equal(rig.lines.filter(({ msg }) => msg === 'connection refused').length, 1)
  first.socket.destroy()
})
