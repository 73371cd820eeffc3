// Connections read into one buffer: every byte arrives once and in order, however reading is steered
// and however the connection ends.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createPlain, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTls } from 'node:tls'
import t, { type Test } from 'tap'
import { Agent, type Dispatcher } from 'undici'
import { createConnector } from '../../../src/upstream/transport/connector.ts'
import { testPki } from '../../helpers/tls.ts'

const pki = await testPki()
const body = randomBytes(3_000_000)

/** A server that answers each request as told, with raw bytes. */
async function start(t: Test, answer: (socket: Socket, request: number) => void, plain = false) {
  let requests = 0
  let connections = 0
  const sockets = new Set<Socket>()
  const serve = (socket: Socket) => {
    connections += 1
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', (data) => {
      // A request is small enough to come as a whole.
      for (const _ of data.toString('latin1').matchAll(/\r\n\r\n/g)) answer(socket, (requests += 1))
    })
  }
  const { certificatePem: cert, keyPem: key } = pki.server
  const server: Server = plain
    ? createPlain(serve)
    : createTls({ cert, key, allowHalfOpen: true }, serve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const ca = pki.ca.certificatePem
  const agent = new Agent({
    connect: createConnector({ ca, timeout: 2000, maxCachedSessions: 0, allowH2: false }),
    connections: 1,
    maxHeaderSize: 32 * 1024,
  })
  t.teardown(async () => {
    await agent.destroy()
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const origin = `${plain ? 'http' : 'https'}://127.0.0.1:${port}`
  return { agent, origin, connections: () => connections }
}

interface Told {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Buffer
  /** The chunks as they were given, which are not to be kept. */
  kept: Buffer[]
  error: Error | undefined
}

function ask(
  { agent, origin }: { agent: Dispatcher; origin: string },
  react: (controller: Dispatcher.DispatchController, chunks: number, length: number) => void = () =>
    undefined,
): Promise<Told> {
  return new Promise((resolve) => {
    const copies: Buffer[] = []
    const told: Told = { status: 0, headers: {}, body: Buffer.alloc(0), kept: [], error: undefined }
    const finish = (error?: Error) => resolve({ ...told, error, body: Buffer.concat(copies) })
    agent.dispatch(
      { origin, path: '/', method: 'GET' },
      {
        onRequestStart: () => undefined,
        onResponseStart: (_controller, status, headers) =>
          void Object.assign(told, { status, headers }),
        onResponseData(controller, chunk) {
          copies.push(Buffer.from(chunk))
          told.kept.push(chunk)
          react(controller, copies.length, chunk.length)
        },
        onResponseEnd: () => finish(),
        onResponseError: (_controller, error) => finish(error),
      },
    )
  })
}

const crlf = Buffer.from('\r\n')
const head = (length: number) => `HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`

function sendBody(socket: Socket): void {
  socket.write(head(body.length))
  socket.write(body)
}

for (const plain of [false, true]) {
  t.test(
    `a body arrives without a buffer for each piece, ${plain ? 'plain' : 'TLS'}`,
    async (t) => {
      const told = await ask(await start(t, sendBody, plain))
      t.ok(told.body.equals(body))
      t.notOk(Buffer.concat(told.kept).equals(body), 'who keeps a chunk has other bytes')
    },
  )

  t.test(`nothing is lost or turned round by pauses, ${plain ? 'plain' : 'TLS'}`, async (t) => {
    const site = await start(t, sendBody, plain)
    for (const later of [setImmediate, (resume: () => void) => setTimeout(resume, 5)]) {
      let isPaused = false
      let early = 0
      const told = await ask(site, (controller, chunks) => {
        if (isPaused) early += 1
        if (chunks % 7 !== 0) return
        controller.pause()
        isPaused = true
        later(() => {
          isPaused = false
          controller.resume()
        })
      })
      t.ok(told.body.equals(body))
      t.equal(early, 0, 'nothing comes while it is paused')
    }
    t.equal(site.connections(), 1, 'and the connection is used again')
  })
}

t.test('a pause makes the server wait', async (t) => {
  const large = Buffer.concat(Array.from({ length: 20 }, () => body))
  let sent: Socket | undefined
  const site = await start(t, (socket) => {
    sent = socket
    socket.write(head(large.length))
    socket.write(large)
  })
  const told = await ask(site, (controller, chunks) => {
    if (chunks !== 10) return
    controller.pause()
    setTimeout(() => {
      t.ok((sent?.writableLength ?? 0) > 0, 'it has bytes that it cannot get rid of')
      controller.resume()
    }, 300)
  })
  t.ok(told.body.equals(large))
})

t.test('a pause in the middle of what has been read', async (t) => {
  const parts = Array.from({ length: 2000 }, (_, n) => body.subarray(n * 1000, (n + 1) * 1000))
  const site = await start(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
    socket.write(Buffer.concat(parts.flatMap((part) => [Buffer.from('3e8\r\n'), part, crlf])))
    socket.write('0\r\n\r\n')
  })
  const told = await ask(site, (controller, chunks) => {
    if (chunks % 90 !== 0) return
    controller.pause()
    // Long enough for more to be read meanwhile.
    setTimeout(() => controller.resume(), 20)
  })
  t.ok(told.body.equals(body.subarray(0, 2_000_000)))
})

t.test('a body that ends with its connection, while it is paused', async (t) => {
  const site = await start(t, (socket) => {
    socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n')
    socket.end(body)
  })
  const told = await ask(site, (controller, chunks) => {
    if (chunks % 50 !== 0) return
    controller.pause()
    setTimeout(() => controller.resume(), 20)
  })
  t.equal(told.error, undefined)
  t.ok(told.body.equals(body))
})

t.test('a connection that ends early, in either way', async (t) => {
  for (const [end, code] of [
    [(socket: Socket) => socket.end(), 'UND_ERR_SOCKET'],
    [(socket: Socket) => rawOf(socket).resetAndDestroy(), 'ECONNRESET'],
  ] as const) {
    const site = await start(t, (socket) => {
      socket.write(head(body.length))
      socket.write(body.subarray(0, 1_000_000), () => setTimeout(() => end(socket), 50))
    })
    const told = await ask(site)
    t.match(told.error, { code })
    t.ok(told.body.equals(body.subarray(0, told.body.length)))
    t.ok(told.body.length > 0)
  }
})

t.test('a reset while it is paused is told, and what came before it is right', async (t) => {
  const site = await start(t, (socket) => {
    socket.write(head(body.length))
    socket.write(body.subarray(0, 60_000), () => rawOf(socket).resetAndDestroy())
  })
  const told = await ask(site, (controller) => {
    controller.pause()
    setTimeout(() => controller.resume(), 50)
  })
  t.ok(told.error)
  t.ok(told.body.equals(body.subarray(0, told.body.length)))
})

t.test('an abort ends the connection, and the next request gets a new one', async (t) => {
  const site = await start(t, sendBody)
  const told = await ask(site, (controller, chunks) => {
    if (chunks === 20) controller.abort(new Error('enough'))
  })
  t.match(told.error, { message: 'enough' })
  t.ok((await ask(site)).body.equals(body))
  t.equal(site.connections(), 2)
})

t.test('a head in pieces, behind the body of another answer', async (t) => {
  const values = Array.from({ length: 6 }, (_, n) => String(n).repeat(4000))
  const lines = values.map((value, n) => `X-Value-${n}: ${value}\r\n`).join('')
  const text = `HTTP/1.1 200 OK\r\n${lines}Content-Length: 5\r\n\r\nhello`
  const site = await start(t, (socket, request) => {
    if (request % 2 === 1) return sendBody(socket)
    // Each write is a record of its own, and each header is cut.
    for (let at = 0; at < text.length; at += 3500) socket.write(text.slice(at, at + 3500))
    return undefined
  })
  for (let round = 0; round < 3; round += 1) {
    t.ok((await ask(site)).body.equals(body))
    const { headers, body: told } = await ask(site)
    t.equal(told.toString(), 'hello')
    t.strictSame(
      values.map((_, n) => headers[`x-value-${n}`]),
      values,
    )
  }
  t.equal(site.connections(), 1)
})

t.test('two downloads at once do not get into each other', async (t) => {
  const other = randomBytes(body.length)
  const [one, two] = [
    await start(t, sendBody),
    await start(t, (socket) => {
      socket.write(head(other.length))
      socket.write(other)
    }),
  ]
  const [first, second] = await Promise.all([ask(one), ask(two)])
  t.ok(first.body.equals(body))
  t.ok(second.body.equals(other))
})

t.test('one download does not have a turn of the event loop for itself', async (t) => {
  const site = await start(t, sendBody)
  let [bytes, most] = [0, 0]
  const told = await ask(site, (_controller, _chunks, length) => {
    if (bytes === 0) setImmediate(() => (bytes = 0))
    most = Math.max(most, (bytes += length))
  })
  t.ok(told.body.equals(body))
  t.ok(most <= 512 * 1024, `${most} bytes in one turn`)
})

t.test('what comes unasked ends an idle connection, also behind what was large', async (t) => {
  const site = await start(t, (socket) => {
    sendBody(socket)
    setTimeout(() => socket.write(head(0)), 100)
  })
  t.ok((await ask(site)).body.equals(body))
  await new Promise((resolve) => setTimeout(resolve, 200))
  t.ok((await ask(site)).body.equals(body))
  t.equal(site.connections(), 2)
})

t.test('what comes unasked ends an idle connection', async (t) => {
  const site = await start(t, (socket) => {
    socket.write(`${head(5)}hello`)
    setTimeout(() => socket.write(`${head(5)}fraud`), 50)
  })
  t.equal((await ask(site)).body.toString(), 'hello')
  await new Promise((resolve) => setTimeout(resolve, 150))
  t.equal((await ask(site)).body.toString(), 'hello')
  t.equal(site.connections(), 2)
})

/** What is below TLS: only that can be reset. */
function rawOf(socket: Socket): Socket {
  return (socket as { _parent?: Socket })._parent ?? socket
}
