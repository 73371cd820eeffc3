// Connections whose client does nothing more: each has an end, whatever it had begun.
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { connect, type Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { connect as connectTls, type SecureVersion } from 'node:tls'
import t, { type Test } from 'tap'
import { drain } from '../../src/listener/drain.ts'
import {
  defaultLimits,
  makeSite,
  noTls,
  startListener,
  type RunningListener,
} from '../helpers/listener.ts'

const get = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n'

/** Longer than every time limit but that of an answer which is not read, ms. */
const longest = 25_000

/** A client that never closes its side, nor reads unless told. */
async function open(t: Test, port: number, bytes: string | Buffer = ''): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  if (bytes.length > 0) socket.write(bytes)
  return socket
}

async function openTls(t: Test, port: number, version: SecureVersion, bytes = ''): Promise<void> {
  const versions = { minVersion: version, maxVersion: version }
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...versions })
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  await once(socket, 'secureConnect')
  if (bytes.length > 0) socket.write(bytes)
}

async function clientHello(version: SecureVersion): Promise<Buffer> {
  const [near, far] = duplexPair()
  const client = connectTls({ socket: near, minVersion: version, maxVersion: version })
  client.on('error', () => undefined)
  const [hello] = (await once(far, 'data')) as [Buffer]
  client.destroy()
  return hello
}

const connectionsOn = ({ server }: RunningListener) =>
  new Promise<number>((resolve) => void server.getConnections((_error, count) => resolve(count)))

/** The number of connections that are left after `ms` at most. */
async function left(listener: RunningListener, ms: number): Promise<number> {
  const end = Date.now() + ms
  while ((await connectionsOn(listener)) > 0 && Date.now() < end) await setTimeout(50)
  return connectionsOn(listener)
}

const answer: RequestListener = (_req, res) => void res.end('answer')

const halves: [name: string, bytes: string][] = [
  ['no request', ''],
  ['half a request line', 'GET /v2/'],
  ['half a head', 'GET /v2/ HTTP/1.1\r\nHost: a\r\n'],
  ['half a body', 'POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345'],
  ['a request, then half of one', `${get}GET /v2/`],
  ['rubbish behind a request', `${get}NONSENSE\r\n\r\n`],
]

t.test('whatever a client has begun ends', async (t) => {
  const plain = await startListener(t, { insecureHttp: true, tls: noTls }, answer)
  for (const [, bytes] of halves) await open(t, plain.port, bytes)
  const { tls } = await makeSite(t)
  const listener = await startListener(t, { tls }, answer)
  const { port } = listener
  await open(t, port)
  await open(t, port, 'NONSENSE\r\n\r\n')
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const hello = await clientHello(version)
    await open(t, port, hello.subarray(0, 50))
    await open(t, port, hello)
    for (const [, bytes] of halves) await openTls(t, port, version, bytes)
  }
  t.equal(await left(plain, longest), 0)
  t.equal(await left(listener, longest), 0)
  t.equal(listener.failures.filter((reason) => reason === 'timeout').length, 5)
  t.notOk(listener.failures.includes('closed_by_client'), 'each is told once')
})

for (const secure of [true, false]) {
  const kind = secure ? 'TLS' : 'plain'

  t.test(`an answer that is not read ends, one that takes us long does not, ${kind}`, async (t) => {
    const tls = secure ? (await makeSite(t)).tls : noTls
    const listener = await startListener(t, { insecureHttp: !secure, tls }, (req, res) => {
      if (req.url === '/large') res.end(Buffer.alloc(64 * 1024 * 1024))
      else void setTimeout(1500).then(() => res.end('late'))
    })
    const { server, port } = listener
    t.equal(server.timeout, 60_000)
    server.setTimeout(500)
    const begin = async (path: string) => {
      const socket = secure
        ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
        : connect(port, '127.0.0.1')
      t.teardown(() => socket.destroy())
      socket.on('error', () => undefined)
      await once(socket, secure ? 'secureConnect' : 'connect')
      socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      return socket
    }
    await begin('/large')
    t.equal(await left(listener, 10_000), 0)
    const late = await begin('/late')
    let text = ''
    late.on('data', (chunk: Buffer) => (text += chunk.toString()))
    await once(late, 'end')
    t.match(text, /late$/)
  })
}

t.test('a refusal that is not read ends, whatever else is sent', async (t) => {
  const listener = await startListener(t, { insecureHttp: true, tls: noTls }, answer)
  const socket = await open(t, listener.port, 'NONSENSE\r\n\r\n')
  const sending = setInterval(() => socket.write('more\r\n'), 100)
  t.teardown(() => clearInterval(sending))
  t.equal(await left(listener, 10_000), 0)
})

t.test('the end of the server does not wait for a handshake', async (t) => {
  const { tls } = await makeSite(t)
  const listener = await startListener(t, { tls }, answer)
  const silent = await open(t, listener.port)
  const begun = await open(t, listener.port, (await clientHello('TLSv1.3')).subarray(0, 50))
  await Promise.all([once(listener.server, 'connection'), open(t, listener.port)])
  const started = performance.now()
  t.equal(await drain(listener.server, 60_000), 0)
  t.ok(performance.now() - started < 5000)
  silent.destroy()
  begun.destroy()
})

t.test('the end of the server lets a slow client read the last piece', async (t) => {
  const size = 1024 * 1024
  const listener = await startListener(t, { insecureHttp: true, tls: noTls }, (_req, res) => {
    res.end(Buffer.alloc(size))
  })
  const socket = await open(t, listener.port, get)
  await once(socket, 'readable')
  const drained = drain(listener.server, 20_000)
  await setTimeout(1500)
  let received = 0
  socket.on('data', (chunk: Buffer) => (received += chunk.length))
  await once(socket, 'end')
  t.ok(received > size, `${received} bytes`)
  t.equal(await drained, 0)
})

t.test('time limits and connections are those that are documented', async (t) => {
  const { tls } = await makeSite(t)
  const { server } = await startListener(t, { tls }, answer)
  t.match(server, {
    headersTimeout: 10_000,
    requestTimeout: 15_000,
    keepAliveTimeout: 75_000,
    timeout: 60_000,
    maxRequestsPerSocket: 0,
    maxConnections: 20_000,
  })
})

for (const secure of [true, false]) {
  t.test(`one address has so many connections, ${secure ? 'TLS' : 'plain'}`, async (t) => {
    const tls = secure ? (await makeSite(t)).tls : noTls
    const limits = { ...defaultLimits, connectionsPerAddress: 2 }
    const listener = await startListener(t, { insecureHttp: !secure, tls, limits }, answer)
    const from = async (localAddress: string) => {
      const socket = connect({ port: listener.port, host: '127.0.0.1', localAddress })
      t.teardown(() => socket.destroy())
      socket.on('error', () => undefined)
      const closed = new Promise((resolve) => socket.on('close', resolve))
      await once(socket, 'connect')
      return { socket, closed }
    }
    const first = await from('127.0.0.2')
    await from('127.0.0.2')
    const refused = listener.nextFailure()
    const third = await from('127.0.0.2')
    t.equal(await refused, 'too_many_from_address')
    await third.closed
    await from('127.0.0.3')
    first.socket.destroy()
    while ((await connectionsOn(listener)) > 2) await setTimeout(10)
    await from('127.0.0.2')
    while ((await connectionsOn(listener)) < 3) await setTimeout(10)
    t.same(listener.failures.filter((reason) => reason !== 'closed_by_client').length, 1)
  })
}

t.test('hundreds of silent connections keep nobody out: the oldest handshake ends', async (t) => {
  const { tls } = await makeSite(t)
  const limits = { ...defaultLimits, handshakes: 50 }
  const listener = await startListener(t, { tls, limits }, answer)
  const silent = await Promise.all(Array.from({ length: 300 }, async () => open(t, listener.port)))
  const versions = ['TLSv1.2', 'TLSv1.3'] as const
  await Promise.all(versions.map(async (version) => openTls(t, listener.port, version, get)))
  while (listener.failures.length < 250) await setTimeout(10)
  t.ok((await connectionsOn(listener)) <= 52)
  t.match(new Set(listener.failures), new Set(['too_many_handshakes']))
  t.equal(silent.length, 300)
})

for (const secure of [true, false]) {
  const kind = secure ? 'TLS' : 'plain'

  t.test(`a client that takes a few bytes now and then for ever, ${kind}`, async (t) => {
    const tls = secure ? (await makeSite(t)).tls : noTls
    const limits = { ...defaultLimits, minRate: 100_000, minRateWindow: 1000 }
    const size = 16 * 1024 * 1024
    const listener = await startListener(t, { insecureHttp: !secure, tls, limits }, (req, res) => {
      if (req.url === '/large') res.end(Buffer.alloc(size))
      else void setTimeout(3000).then(() => res.end('late'))
    })
    const { port } = listener
    const begin = async (path: string) => {
      const socket = secure
        ? connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
        : connect(port, '127.0.0.1')
      t.teardown(() => socket.destroy())
      socket.on('error', () => undefined)
      await once(socket, secure ? 'secureConnect' : 'connect')
      socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      return socket
    }
    /** Takes what there is so often, until all has come or the connection has ended. */
    const take = async (socket: Socket, bytes: number, pause: number) => {
      let received = 0
      const end = Date.now() + 20_000
      socket.pause()
      while (!socket.destroyed && !socket.readableEnded && Date.now() < end) {
        received +=
          (socket.read(Math.min(bytes, socket.readableLength)) as Buffer | null)?.length ?? 0
        await setTimeout(pause)
      }
      return received
    }
    const slow = await begin('/large')
    const trickle = take(slow, 10, 50)
    const [late, fast] = await Promise.all([
      begin('/late').then(async (socket) => take(socket, 1000, 10)),
      begin('/large').then(async (socket) => take(socket, 1024 * 1024, 10)),
    ])
    t.ok(late > 4, 'one that waits for us is served')
    t.ok(fast > size, `a faster one has all: ${fast} bytes`)
    t.equal(await left(listener, 10_000), 0)
    t.same(listener.failures, ['too_slow'])
    slow.destroy()
    t.ok((await trickle) < size)
  })
}
