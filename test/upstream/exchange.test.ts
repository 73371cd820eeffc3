// One exchange over real sockets: what arrives, how it is steered, and what is tried again.
import { once } from 'node:events'
import { createServer } from 'node:net'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import type { Digest } from '../../src/oci/digest.ts'
import type { Flow } from '../../src/oci/origin.ts'
import { ask, startUpstreams } from '../helpers/ask.ts'
import { tokenAuth } from '../helpers/token-auth.ts'
import * as faults from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 3_000_000 })
const [digest, bytes] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] as [
  Digest,
  Buffer,
]
const blob = { resource: `blobs/${digest}` }

async function start(t: Test, list: faults.Fault[] = [], overrides = {}) {
  const upstream = await faults.startUpstream(t, { repositories: { app: image }, faults: list })
  return { upstream, client: startUpstreams(t, { url: upstream.url, ...overrides }) }
}

t.test('content arrives as it is, with lower-case headers', async (t) => {
  const { upstream, client } = await start(t)
  const { response, body, order } = await ask(client.open, blob)
  t.equal(response?.status, 200)
  t.equal(response?.headers['docker-content-digest'], digest)
  t.equal(response?.headers['content-length'], String(bytes.length))
  t.ok(body.equals(bytes))
  t.same(order, ['start', 'data', 'end'])
  t.match(client.attempts, [{ upstream: 'up', method: 'GET', outcome: 'ok', status: 200 }])
  const [request] = upstream.requests
  t.match(request?.headers['user-agent'], /^portcullis\/\d/)
  t.same(Object.keys(request?.headers ?? {}).sort(), [
    'accept-encoding',
    'connection',
    'host',
    'user-agent',
    'via',
  ])
  t.match(request?.headers.via, /^1\.1 portcullis-[0-9a-f]{12}$/)
})

t.test(
  'what a proxy on the way has changed is content like any other: its digest tells',
  async (t) => {
    const modified: faults.Fault = (_req, res) => {
      const writeHead = res.writeHead.bind(res)
      res.writeHead = (_status: number, ...rest: never[]) => writeHead(203, ...rest)
      return false
    }
    const { client } = await start(t, [modified])
    const { response, body } = await ask(client.open, blob)
    t.equal(response?.status, 200)
    t.ok(body.equals(bytes))
  },
)

t.test('HEAD, Accept and Range reach the upstream', async (t) => {
  const { upstream, client } = await start(t)
  const head = await ask(client.open, { method: 'HEAD', accept: 'text/x' })
  t.equal(head.response?.status, 200)
  t.same(head.order, ['start', 'end'])
  const part = await ask(client.open, { ...blob, from: 2_000_000 })
  t.equal(part.response?.status, 206)
  t.ok(part.body.equals(bytes.subarray(2_000_000)))
  t.equal(upstream.requests[0]?.headers.accept, 'text/x')
  t.equal(upstream.requests[1]?.headers.range, 'bytes=2000000-')
})

t.test('a HEAD leaves the connection open', async (t) => {
  const sockets = new Set<unknown>()
  const { client } = await start(t, [(req) => sockets.add(req.socket) && false])
  for (let n = 0; n < 3; n += 1) {
    await ask(client.open, { method: 'HEAD' })
    await new Promise(setImmediate)
  }
  t.equal(sockets.size, 1)
})

t.test('404 and 416 are answers', async (t) => {
  const { client } = await start(t)
  const missing = await ask(client.open, { resource: 'manifests/none' })
  t.equal(missing.response?.status, 404)
  t.match(missing.body.toString(), 'MANIFEST_UNKNOWN')
  const beyond = await ask(client.open, { ...blob, from: 99_999_999 })
  t.equal(beyond.response?.status, 416)
})

t.test('what is known already is asked for by If-None-Match, and 304 is an answer', async (t) => {
  const { upstream, client } = await start(t, [faults.status(304)])
  const { response, order } = await ask(client.open, { unless: digest })
  t.equal(response?.status, 304)
  t.same(order, ['start', 'end'])
  t.equal(upstream.requests[0]?.headers['if-none-match'], `"${digest}"`)
})

t.test('who failed, and with which status', async (t) => {
  const { client, upstream } = await start(t, [faults.status(451)])
  t.same((await ask(client.open, {})).error?.blame, { status: 451 })
  const cdn = await faults.startUpstream(t, { repositories: {}, faults: [faults.status(500)] })
  const host = `127.0.0.1:${cdn.port}`
  const redirected = startUpstreams(t, { url: upstream.url, redirects: [host] })
  upstream.fail(faults.status(307, { location: `${cdn.url}/signed` }))
  t.same((await ask(redirected.open, {})).error?.blame, { status: 500, host })
  t.same((await ask(client.open, {})).error?.blame, { status: 307 }, 'a redirect not followed')
  await upstream.close()
  t.same((await ask(client.open, {})).error?.blame, {}, 'nobody')
})

t.test('a URL with a path is kept', async (t) => {
  const { upstream } = await start(t)
  const client = startUpstreams(t, { url: `${upstream.url}/registry` })
  await ask(client.open, {})
  t.equal(upstream.requests[0]?.url, '/registry/v2/app/manifests/latest')
})

t.test('a URL that names a part of a registry', async (t) => {
  const upstream = await faults.startUpstream(t, { repositories: { 'dockerhub/app': image } })
  for (const [path, asked] of [
    ['/v2/dockerhub', '/v2/dockerhub/app/manifests/latest'],
    ['/v2/dockerhub/', '/v2/dockerhub/app/manifests/latest'],
    ['/some/where/v2/a/b', '/some/where/v2/a/b/app/manifests/latest'],
    ['/v2x', '/v2x/v2/app/manifests/latest'],
  ] as const) {
    const client = startUpstreams(t, { url: `${upstream.url}${path}` })
    await ask(client.open, {})
    t.equal(upstream.requests.at(-1)?.url, asked)
  }
})

t.test('tokens for a part of a registry are for its whole name, and kept', async (t) => {
  const tokens = tokenAuth()
  const upstream = await faults.startUpstream(t, {
    repositories: { 'dockerhub/app': image },
    faults: [tokens.fault],
  })
  const client = startUpstreams(t, { url: `${upstream.url}/v2/dockerhub` })
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal(tokens.asked.length, 1)
  t.same(tokens.asked[0]?.parameters.getAll('scope'), ['repository:dockerhub/app:pull'])
})

t.test('an abort while a token is fetched ends the exchange', async (t) => {
  const gate = faults.gate()
  const tokens = tokenAuth()
  const { client, upstream } = await start(t, [
    (req, res) => req.url?.startsWith('/token') === true && gate.fault(req, res),
    tokens.fault,
  ])
  const told: string[] = []
  const flow = client.open(
    { upstream: 'up', method: 'GET', repository: 'app', ...blob },
    {
      start: () => told.push('start'),
      data: () => told.push('data'),
      end: () => told.push('end'),
      fail: () => told.push('fail'),
    },
  )
  await gate.held(1)
  flow.abort()
  gate.open()
  await client.close()
  t.same(told, [])
  t.equal(upstream.count(/blobs/), 1, 'it is not asked again')
})

t.test('an abort before there is a connection sends nothing', async (t) => {
  const { client, upstream } = await start(t)
  const flow = client.open(
    { upstream: 'up', method: 'GET', repository: 'app', ...blob },
    { start() {}, data() {}, end() {}, fail: () => t.fail('fail') },
  )
  flow.abort()
  await client.close()
  t.equal(upstream.requests.length, 0)
  t.match(client.lines, [])
})

t.test('a paused exchange stands still and does not time out', async (t) => {
  const { client } = await start(t, [], { stallTimeout: 300 })
  let size = 0
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  const paused = Promise.withResolvers<void>()
  const flow: Flow = client.open(
    { upstream: 'up', method: 'GET', repository: 'app', ...blob },
    {
      start() {},
      data(chunk) {
        if (size === 0) {
          flow.pause()
          paused.resolve()
        }
        size += chunk.length
      },
      end: resolve,
      fail: (error) => t.fail(error.message),
    },
  )
  await paused.promise
  await new Promise((done) => setTimeout(done, 1200))
  t.ok(size < bytes.length / 2, `${size} bytes came`)
  flow.resume()
  await ended
  t.equal(size, bytes.length)
})

t.test('it may be paused before it has begun', async (t) => {
  const { client } = await start(t)
  let flow: Flow | undefined
  const told = ask(client.open, blob, (given) => {
    flow = given
    flow.pause()
  })
  await new Promise((done) => setTimeout(done, 200))
  flow?.resume()
  t.ok((await told).body.equals(bytes))
})

t.test('after an abort nothing is told, and the connection is gone', async (t) => {
  const gate = faults.gate()
  const closed = Promise.withResolvers<void>()
  const { client, upstream } = await start(t, [
    (req) => {
      req.socket.once('close', closed.resolve)
      return false
    },
    gate.fault,
  ])
  const told: string[] = []
  const flow = client.open(
    { upstream: 'up', method: 'GET', repository: 'app', ...blob },
    {
      start: () => told.push('start'),
      data: () => told.push('data'),
      end: () => told.push('end'),
      fail: () => told.push('fail'),
    },
  )
  await gate.held(1)
  flow.abort()
  flow.abort()
  flow.resume()
  await closed.promise
  gate.open()
  await new Promise((done) => setTimeout(done, 100))
  t.same(told, [])
  t.equal(upstream.requests.length, 1)
})

t.test('an abort in the middle of a body ends it there', async (t) => {
  const { client } = await start(t)
  let calls = 0
  const receiver = {
    start() {},
    data() {
      calls += 1
      flow.abort()
    },
    end: () => t.fail('end'),
    fail: () => t.fail('fail'),
  }
  const flow: Flow = client.open(
    { upstream: 'up', method: 'GET', repository: 'app', ...blob },
    receiver,
  )
  await new Promise((done) => setTimeout(done, 300))
  t.equal(calls, 1)
})

t.test('an abort ends the wait for a retry', async (t) => {
  const { client, upstream } = await start(t, [faults.status(503, { 'retry-after': '5' })])
  const flow = client.open(
    { upstream: 'up', method: 'GET', repository: 'app', ...blob },
    { start() {}, data() {}, end() {}, fail: () => t.fail('fail') },
  )
  while (upstream.requests.length === 0) await new Promise((done) => setTimeout(done, 10))
  await new Promise((done) => setTimeout(done, 50))
  flow.abort()
  await new Promise((done) => setTimeout(done, 50))
  t.equal(upstream.requests.length, 1)
})

t.test('what is under way when it is closed goes well, retries and all', async (t) => {
  const once = faults.times(1, faults.status(503, { 'retry-after': '1' }))
  const { client, upstream } = await start(t, [once])
  const told = ask(client.open, {})
  while (upstream.requests.length === 0) await new Promise((done) => setTimeout(done, 10))
  const closed = client.close()
  t.equal((await told).response?.status, 200)
  await closed
})

t.test('502, 503 and 504 are tried again', async (t) => {
  for (const status of [502, 503, 504]) {
    const { client, upstream } = await start(t, [faults.times(2, faults.status(status))])
    const { response } = await ask(client.open, {})
    t.equal(response?.status, 200)
    t.equal(upstream.requests.length, 3)
    t.same(
      client.attempts.map(({ outcome, reason }) => reason ?? outcome),
      ['http_5xx', 'http_5xx', 'ok'],
    )
  }
})

t.test('other failures are not', async (t) => {
  for (const [status, reason] of [
    [500, 'http_5xx'],
    [400, 'http_4xx'],
    [418, 'http_4xx'],
    [204, 'unexpected_status'],
  ] as const) {
    const { client, upstream } = await start(t, [faults.status(status)])
    const { error, order } = await ask(client.open, {})
    t.match(error, { code: 'UPSTREAM_FAILED', reason })
    t.same(order, ['fail'])
    t.equal(upstream.requests.length, 1)
  }
})

t.test('what goes on failing is given up', async (t) => {
  const { client, upstream } = await start(t, [faults.status(503)])
  const { error } = await ask(client.open, {})
  t.match(error, { code: 'UPSTREAM_FAILED', reason: 'http_5xx' })
  t.equal(upstream.requests.length, 4)
})

t.test('Retry-After is honoured within the budget', async (t) => {
  const { client } = await start(t, [faults.times(1, faults.status(429, { 'retry-after': '1' }))])
  const begun = performance.now()
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.ok(performance.now() - begun >= 990, 'it has waited')
})

t.test('a Retry-After beyond it is passed on', async (t) => {
  const tomorrow = new Date(Date.now() + 3_600_000).toUTCString()
  for (const [value, passedOn] of [
    ['60', /^60$/],
    ['99999999999999999999', /^86400$/],
    [tomorrow, /^3[56]\d\d$/],
    ['nonsense', undefined],
  ] as const) {
    const { client, upstream } = await start(t, [faults.status(429, { 'retry-after': value })])
    const { error } = await ask(client.open, {})
    t.match(error, { code: 'TOOMANYREQUESTS', reason: 'rate_limited' })
    t.match(error?.headers, passedOn === undefined ? {} : { 'retry-after': passedOn })
    t.equal(upstream.requests.length, 1)
  }
})

t.test('a connection that breaks before the headers is tried again', async (t) => {
  const reset: faults.Fault = (req) => {
    req.socket.resetAndDestroy()
    return true
  }
  const { client, upstream } = await start(t, [faults.times(1, reset)])
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal(upstream.requests.length, 2)
})

t.test('a body that breaks is told as it is, and not tried again', async (t) => {
  for (const [fault, reason] of [
    [faults.closeAfter(100_000), 'truncated'],
    [faults.resetAfter(100_000), /^(?:reset|truncated)$/],
    [faults.stallAfter(100_000), 'stall'],
  ] as const) {
    const { client, upstream } = await start(t, [fault], { stallTimeout: 300 })
    const { error, order, body } = await ask(client.open, blob)
    t.match(error?.reason, reason)
    t.equal(error?.code, reason === 'stall' ? 'UPSTREAM_TIMEOUT' : 'UPSTREAM_FAILED')
    t.equal(order.at(-1), 'fail')
    t.ok(body.equals(bytes.subarray(0, body.length)), 'what came is right')
    t.equal(upstream.requests.length, 1)
    t.match(client.attempts, [{ outcome: 'error', reason: error?.reason }])
  }
})

t.test('a chunked body that breaks is no clean end', async (t) => {
  const { client } = await start(t, [faults.chunked(), faults.closeAfter(100_000)])
  const { error, order } = await ask(client.open, blob)
  t.equal(error?.reason, 'truncated')
  t.equal(order.at(-1), 'fail')
})

t.test('no headers in time', async (t) => {
  const { client, upstream } = await start(t, [faults.stallBeforeHeaders()], {
    headersTimeout: 200,
  })
  const { error } = await ask(client.open, {})
  t.match(error, { code: 'UPSTREAM_TIMEOUT', reason: 'timeout' })
  t.match(error?.message, 'upstreams.up.headersTimeout')
  t.ok(upstream.requests.length > 1, 'it was tried again, as the budget allows')
})

t.test('nobody listens', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await new Promise((done) => server.close(done))
  const client = startUpstreams(t, { url: `http://127.0.0.1:${port}` })
  const { error } = await ask(client.open, {})
  t.match(error, { code: 'UPSTREAM_FAILED', reason: 'refused' })
  t.match(error?.message, 'upstreams.up.url')
  t.equal(client.attempts.length, 4)
})

t.test('a name that does not resolve', async (t) => {
  const client = startUpstreams(t, { url: 'http://nowhere.invalid' })
  t.match((await ask(client.open, {})).error, { code: 'UPSTREAM_FAILED', reason: 'dns' })
})

t.test('what is no HTTP', async (t) => {
  const server = createServer((socket) => socket.end('220 smtp.example ready\r\n'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const client = startUpstreams(t, { url: `http://127.0.0.1:${port}` })
  t.match((await ask(client.open, {})).error, { code: 'UPSTREAM_FAILED', reason: 'bad_response' })
})

t.test('headers without end are refused', async (t) => {
  const { client } = await start(t, [faults.status(200, { 'x-large': 'x'.repeat(40_000) })])
  t.match((await ask(client.open, {})).error, { code: 'UPSTREAM_FAILED', reason: 'bad_response' })
})

t.test('the log tells a reason once a minute, and how often it was', async (t) => {
  const { client } = await start(t, [faults.status(500, {}, 'database\nis away')])
  const lines = () => client.lines.filter(({ reason }) => reason === 'http_5xx')
  for (let n = 0; n < 3; n += 1) await ask(client.open, {})
  t.match(lines(), [{ upstream: 'up', suppressed: 0, detail: /status 500: database is away/ }])
  client.forward(61_000)
  await ask(client.open, {})
  t.match(lines()[1], { suppressed: 2 })
})

t.test('an upstream that is not configured', async (t) => {
  const { client, upstream } = await start(t)
  const { error } = await ask(client.open, { upstream: '__proto__' })
  t.equal(error?.code, 'NAME_UNKNOWN')
  t.equal(upstream.requests.length, 0)
})

/** Each comes before what then comes as a byte now and then. */
const drips: Record<string, { head: string; drop: string; expected: Record<string, unknown> }> = {
  'interim responses': {
    head: '',
    drop: 'HTTP/1.1 102 Processing\r\n\r\n',
    expected: { error: { code: 'UPSTREAM_TIMEOUT', reason: 'timeout' } },
  },
  content: {
    head: 'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n',
    drop: 'x',
    expected: { error: { code: 'UPSTREAM_TIMEOUT', reason: 'stall' } },
  },
  'a 404': {
    head: 'HTTP/1.1 404 Not Found\r\nContent-Length: 100000\r\n\r\n',
    drop: 'x',
    expected: { error: { code: 'UPSTREAM_TIMEOUT', reason: 'stall' } },
  },
  'an error page': {
    head: 'HTTP/1.1 500 Oh\r\nContent-Length: 100000\r\n\r\n',
    drop: 'x',
    expected: { error: { code: 'UPSTREAM_FAILED', blame: { status: 500 } } },
  },
  'a redirect': {
    head: 'HTTP/1.1 307 There\r\nLocation: http://other.example/\r\nContent-Length: 100000\r\n\r\n',
    drop: 'x',
    expected: { error: { code: 'UPSTREAM_FAILED', blame: { status: 307 } } },
  },
}

/** Sends `head`, and `drop` every 50 ms. */
function dripping(head: string, drop: string): faults.Fault {
  return ({ socket }) => {
    socket.write(head)
    const timer = setInterval(() => socket.write(drop), 50)
    socket.on('close', () => clearInterval(timer)).on('error', () => undefined)
    return true
  }
}

for (const [name, { head, drop, expected }] of Object.entries(drips)) {
  t.test(`an upstream that drips does not hold anybody up: ${name}`, async (t) => {
    const limits = { headersTimeout: 300, stallTimeout: 300 }
    const { client } = await start(t, [dripping(head, drop)], limits)
    const begun = performance.now()
    t.match(await ask(client.open, {}), expected)
    t.ok(performance.now() - begun < 5000)
  })
}

t.test('a blob is of use as it comes, however slowly', async (t) => {
  const drip = dripping('HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n', 'x')
  const { client } = await start(t, [drip], { stallTimeout: 300 })
  t.equal((await ask(client.open, blob)).body.toString(), 'x'.repeat(12))
})

t.test('what is held back here does not count as slow', async (t) => {
  const drip = dripping('HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n', 'x')
  const { client } = await start(t, [drip], { stallTimeout: 300 })
  const { error } = await ask(client.open, {}, (flow) => {
    flow.pause()
    setTimeout(() => flow.resume(), 700)
  })
  t.equal(error, undefined)
})
