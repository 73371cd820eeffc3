// The sender by itself, over real sockets: contents that end early, fail late, or never come.
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t, { type Test } from 'tap'
import type { Large } from '../../src/cache/cache.ts'
import { GatewayError } from '../../src/errors.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { createSender } from '../../src/registry/send-body.ts'
import { until } from '../helpers/cache.ts'

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

type Read = Large['read']
type Lend = NonNullable<Large['lend']>

interface Outcome {
  closed: number
  done: { bytes: number; error?: unknown }[]
  begun: number
}

/** Sends what `read` gives to everybody; `to` is behind the last byte. */
async function serve(
  t: Test,
  read: (req: IncomingMessage) => Read,
  range: [number, number?],
  lend?: Lend,
) {
  const inFlight = { now: 0, most: 0 }
  const send = createSender((change) => {
    inFlight.now += change
    inFlight.most = Math.max(inFlight.most, inFlight.now)
  })
  const outcome: Outcome = { closed: 0, done: [], begun: 0 }
  const [from, to] = range
  const server = createServer((req, res) => {
    const content: Large = {
      kind: 'large',
      digest: digestOf('x'),
      mediaType: 'a/b',
      size: undefined,
      read: read(req),
      ...(lend !== undefined && { lend }),
      close: () => void (outcome.closed += 1),
    }
    send({
      res,
      content,
      from,
      to,
      begin: () => {
        outcome.begun += 1
        res.writeHead(200, to === undefined ? {} : { 'content-length': to - from })
      },
      done(bytes, error) {
        outcome.done.push({ bytes, ...(error === undefined ? {} : { error }) })
        if (error === undefined) return
        if (res.headersSent) res.destroy()
        else res.writeHead(502).end()
      },
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { outcome, inFlight, port: (server.address() as AddressInfo).port }
}

/** All bytes of one connection, until it closes or `enough` is there; asks as often as told. */
async function talk(port: number, requests: number, enough: RegExp, limit = 5000): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  socket.on('error', () => undefined)
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(requests))
  const end = Date.now() + limit
  while (!socket.closed && !enough.test(text) && Date.now() < end) await wait(5)
  // What must not come would come now.
  await wait(50)
  socket.destroy()
  return text
}

const zeros: Read = (buffer) => buffer.fill('0').length

t.test('a part is sent to its end and no further', async (t) => {
  const { port, outcome } = await serve(t, () => zeros, [10, 20])
  const text = await talk(port, 2, /(0{10}[^]*){2}/)
  t.equal(text.split('HTTP/1.1 200 OK').length, 3, 'two answers')
  t.equal(text.replaceAll(/HTTP[^]*?\r\n\r\n/g, ''), '0'.repeat(20), 'and nothing beside them')
  t.same(outcome, { closed: 2, begun: 2, done: [{ bytes: 10 }, { bytes: 10 }] })
})

t.test('what is lent is sent as it is, and given back once', async (t) => {
  const loans = { taken: 0, back: 0 }
  const bytes = Buffer.alloc(10, '1')
  const lend: Lend = (position) => {
    if (position === 10) return false
    const loan = { bytes, giveBack: () => void (loans.back += 1) }
    loans.taken += 1
    return position === 0 ? loan : wait(5, loan)
  }
  const read: Read = (buffer) => buffer.fill('0', 0, 10).length && 10
  const whole = await serve(t, () => read, [0, 30], lend)
  t.match(await talk(whole.port, 1, /1{10}$/), /1{10}0{10}1{10}$/, 'what is not lent is read')
  t.same(whole.outcome, { closed: 1, begun: 1, done: [{ bytes: 30 }] })
  t.same(loans, { taken: 2, back: 2 })

  const gone = Promise.withResolvers<Awaited<ReturnType<Lend>>>()
  const left = await serve(
    t,
    () => read,
    [0, 30],
    () => gone.promise,
  )
  await talk(left.port, 1, /never/, 20)
  await until(() => left.outcome.closed === 1)
  gone.resolve({ bytes, giveBack: () => void (loans.back += 1) })
  await until(() => loans.back === 3)
  t.match(left.outcome, { closed: 1, begun: 0 }, 'also to a client that has left')
})

t.test('content that ends early does not end as if it were whole', async (t) => {
  const few: Read = (buffer, position) =>
    position < 100 ? buffer.fill('0', 0, 100).length && 100 : 0
  const { port, outcome } = await serve(t, () => few, [0, 1000])
  const text = await talk(port, 1, /never/, 2000)
  t.match(text, /0{100}$/)
  t.match(outcome, { closed: 1, done: [{ bytes: 100, error: { code: 'INTERNAL' } }] })
})

t.test(
  'what is left to be sent is counted until it is sent, has failed, or nobody wants it',
  async (t) => {
    const slowly: Read = async (buffer) => {
      await wait(5)
      return buffer.fill('0', 0, 10).length && 10
    }
    const whole = await serve(t, () => slowly, [50, 100])
    await talk(whole.port, 1, /0{50}/)
    t.same(whole.inFlight, { now: 0, most: 50 })
    const left = await serve(t, () => slowly, [0, 100_000])
    const socket = connect(left.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(() => left.inFlight.now > 0 && left.inFlight.now < 99_900)
    socket.destroy()
    await until(() => left.outcome.closed === 1)
    t.same(left.inFlight, { now: 0, most: 100_000 })
    const broken = await serve(t, () => (_buffer, at) => (at < 10 ? 10 : 0), [0, 1000])
    await talk(broken.port, 1, /never/, 500)
    t.same(broken.inFlight, { now: 0, most: 1000 })
  },
)

t.test('of no size, content ends where it ends, and breaks where it fails', async (t) => {
  const fails = new GatewayError('UPSTREAM_FAILED', 'no')
  const read =
    (later: boolean): Read =>
    async (buffer, position) => {
      await wait(10)
      if (position > 0 && later) throw fails
      return position > 0 ? 0 : buffer.fill('0', 0, 100) && 100
    }
  const whole = await serve(t, () => read(false), [0])
  t.match(await talk(whole.port, 1, /\r\n0\r\n\r\n$/), /\r\n0\r\n\r\n$/)
  const broken = await serve(t, () => read(true), [0])
  t.notMatch(await talk(broken.port, 1, /never/, 2000), /\r\n0\r\n\r\n$/, 'no last chunk')
  t.match(broken.outcome, { closed: 1, done: [{ bytes: 100, error: fails }] })
})

t.test('a failure before the head is an answer, and the head comes no more', async (t) => {
  const read: Read = async () => {
    await wait(100)
    throw new GatewayError('UPSTREAM_FAILED', 'no')
  }
  const { port, outcome } = await serve(t, () => read, [0, 10])
  t.match(await talk(port, 1, /502/), /^HTTP\/1.1 502/)
  // Longer than a head waits for the first byte.
  await wait(1200)
  t.equal(outcome.begun, 0)
  t.equal(outcome.closed, 1)
})

t.test('the head does not wait for ever', async (t) => {
  const never: Read = async () => new Promise(() => undefined)
  const { port, outcome } = await serve(t, () => never, [0, 10])
  t.match(await talk(port, 1, /200 OK/), /^HTTP\/1.1 200 OK/)
  await until(() => outcome.closed === 1)
  t.match(outcome.done, [{ bytes: 0, error: { reason: 'client_left' } }])
})

t.test('whoever leaves in mid-read has the buffer until the read has ended', async (t) => {
  const late: (() => void)[] = []
  // Fills the buffer of the one who left only when others have theirs.
  const read = (req: IncomingMessage): Read =>
    req.url === '/leaves'
      ? async (buffer) =>
          new Promise((resolve) => late.push(() => resolve(buffer.fill('x').length)))
      : async (buffer) => {
          buffer.fill('0')
          for (const write of late) write()
          await wait(20)
          return buffer.length
        }
  const { port, outcome } = await serve(t, read, [0, 100_000])
  const socket = connect(port, '127.0.0.1')
  socket.write('GET /leaves HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => late.length === 1)
  socket.destroy()
  await until(() => outcome.closed === 1)
  const text = await talk(port, 1, /0{100000}/)
  t.notMatch(text, /x{10}/, "nothing of another's")
  t.match(text, /0{100000}$/)
})

t.test('buffers are kept for the next, within a bound', async (t) => {
  const waiting: (() => void)[] = []
  const read: Read = async (buffer) => {
    await new Promise<void>((resolve) => waiting.push(resolve))
    return buffer.length
  }
  const { port, outcome } = await serve(t, () => read, [0, 10])
  collectGarbage()
  const before = process.memoryUsage().arrayBuffers
  const sockets = Array.from({ length: 200 }, () => connect(port, '127.0.0.1'))
  for (const socket of sockets) socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => waiting.length === 200)
  for (const resolve of waiting.splice(0)) resolve()
  await until(() => outcome.closed === 200)
  for (const socket of sockets) socket.destroy()
  // What is free goes when the collector comes to it; what is kept stays however often it comes.
  let kept = Infinity
  for (let turn = 0; turn < 100 && kept >= 70 * 256 * 1024; turn += 1) {
    await wait(50)
    collectGarbage()
    kept = process.memoryUsage().arrayBuffers - before
  }
  t.ok(kept < 70 * 256 * 1024, `${Math.round(kept / 2 ** 20)} MiB are kept`)
})
