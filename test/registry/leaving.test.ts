// Clients that leave: each is told as such, with its address, whatever it had asked for.
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { request, type RequestOptions } from 'node:https'
import { connect, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { createAnswers } from '../../src/registry/answer.ts'
import { beginExchange, type Exchange } from '../../src/registry/request-record.ts'
import { createSender } from '../../src/registry/send-body.ts'
import { until } from '../helpers/cache.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { gate, startUpstream, valveAfter, type Fault } from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 12_000_000 })
const manifest = [...image.manifests.keys()][0] ?? ''
const blobs = [...image.blobs].sort(([, a], [, b]) => a.length - b.length).map(([digest]) => digest)
const [small = '', large = ''] = [blobs[0], blobs.at(-1)]

async function start(t: Test, ...faults: Fault[]) {
  const upstream = await startUpstream(t, { repositories: { app: image }, faults })
  const gateway = await startTestGateway(t, `upstreams: { hub: { url: '${upstream.url}' } }`)
  const pki = await testPki()
  const options: RequestOptions = {
    host: 'localhost',
    port: gateway.port,
    ca: pki.ca.certificatePem,
    cert: pki.client.certificatePem,
    key: pki.client.keyPem,
    agent: false,
  }
  const ask = (path: string, headers = {}, method = 'GET') => {
    const asked = request({ ...options, path: `/v2/hub/app/${path}`, headers, method })
    asked.on('error', () => undefined)
    asked.end()
    return asked
  }
  const told = () => gateway.lines.filter(({ msg }) => msg === 'request')
  return { ...gateway, upstream, ask, told }
}

const wanted: Record<string, [path: string, headers?: Record<string, string>, method?: string]> = {
  'a manifest': [`manifests/${manifest}`],
  'a tag': ['manifests/latest'],
  'the head of a tag': ['manifests/latest', {}, 'HEAD'],
  'a small blob': [`blobs/${small}`],
  'the size of a blob': [`blobs/${small}`, {}, 'HEAD'],
  'a large blob': [`blobs/${large}`],
  'a part': [`blobs/${large}`, { range: 'bytes=10-20' }],
  'several parts': [`blobs/${large}`, { range: 'bytes=10-20,11000000-11000009' }],
  tags: ['tags/list'],
  referrers: [`referrers/${manifest}`],
}

for (const [name, [path, headers, method]] of Object.entries(wanted)) {
  t.test(`whoever wanted ${name} leaves before the upstream has answered`, async (t) => {
    const hold = gate()
    const { ask, told } = await start(t, hold.fault)
    const asked = ask(path, headers, method)
    await hold.held(1)
    asked.destroy()
    await new Promise((resolve) => {
      setTimeout(resolve, 50)
    })
    hold.open()
    await until(() => told().length === 1, 'its line is there')
    t.match(told(), [
      { code: 'REQUEST_TIMEOUT', reason: 'client_left', client: /127\.0\.0\.1|::1/ },
    ])
    t.notMatch(told(), [{ err: {} }], 'no fault, no stack')
  })
}

t.test('whoever leaves in the middle of a body', async (t) => {
  const valve = valveAfter(3_000_000)
  const { ask, told } = await start(t, valve.fault)
  for (const headers of [{}, { range: 'bytes=10-11000000' }, { range: 'bytes=1-9,20-11000000' }]) {
    const before = told().length
    const asked = ask(`blobs/${large}`, headers)
    const [response] = (await once(asked, 'response')) as [NodeJS.ReadableStream]
    await once(response, 'data')
    asked.destroy()
    await until(() => told().length === before + 1, 'its line is there')
    t.match(told().at(-1), { reason: 'client_left', client: /127\.0\.0\.1|::1/ })
  }
  valve.open()
})

/** Asks a plain server and reads nothing; what it did to the exchanges is the test's to look at. */
async function askPlain(t: Test, handler: RequestListener): Promise<Socket> {
  const server = createServer(handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').pause()
  socket.on('error', () => undefined)
  t.teardown(() => {
    socket.destroy()
    server.closeAllConnections()
    server.close()
  })
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  return socket
}

t.test('whoever leaves in the middle of an answer that is sent at once', async (t) => {
  const records: Exchange[] = []
  const answers = createAnswers((exchange) => void records.push(exchange))
  let isAsked = false
  const socket = await askPlain(t, (req, res) => {
    isAsked = true
    answers.json(beginExchange(req, res, 'r'), 'x'.repeat(64 * 2 ** 20))
  })
  await until(() => isAsked)
  t.same(records, [], 'it is not over yet')
  socket.resetAndDestroy()
  await until(() => records.length > 0)
  t.match(records, [{ error: { reason: 'client_left' }, client: '127.0.0.1' }])
})

const content = { read: (buffer: Buffer) => buffer.length, close: () => undefined }

t.test('whoever is gone before the body begins is sent nothing', async (t) => {
  const done: unknown[][] = []
  let begun = 0
  const send = createSender()
  const socket = await askPlain(t, (_req, res) => {
    res.once('close', () => {
      const begin = () => void (begun += 1)
      send({ res, content, from: 0, to: 1000, begin, done: (...told) => void done.push(told) })
    })
    socket.destroy()
  })
  await until(() => done.length > 0)
  t.match(done, [[0, { reason: 'client_left' }]])
  t.equal(begun, 0)
})

t.test('a write that fails is the end of a client that left, once', async (t) => {
  const done: unknown[][] = []
  const send = createSender()
  const socket = await askPlain(t, (_req, res) => {
    const begin = () => void res.writeHead(200)
    // Only the write tells: nobody has seen the connection close.
    res.once = () => res
    send({ res, content, from: 0, to: 2 ** 30, begin, done: (...told) => void done.push(told) })
    setImmediate(() => socket.resetAndDestroy())
  })
  await until(() => done.length > 0)
  t.match(done, [[Number, { reason: 'client_left' }]])
  t.equal(done.length, 1)
})
