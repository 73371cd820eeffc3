// What an error says: who failed, with which status, and what to change.
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { ask, startUpstreams, type Overrides } from '../helpers/ask.ts'
import { tokenAuth } from '../helpers/token-auth.ts'
import {
  on,
  startUpstream,
  stallBeforeHeaders,
  status,
  withHeaders,
  type Fault,
} from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 200_000 })
const [digest] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] ?? []

/** What the error of one request says. */
async function blameOf(t: Test, faults: Fault[], config: Partial<Overrides> = {}, resource = '') {
  const upstream = await startUpstream(t, { repositories: { app: image }, faults })
  const client = startUpstreams(t, { url: upstream.url, ...config })
  const { error } = await ask(client.open, resource === '' ? {} : { resource })
  if (error === undefined) throw new Error('it goes well')
  return error.blame
}

/** A port on loopback where nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((done) => server.close(done))
  return port
}

t.test('an answer has its status; a registry that cannot be reached has none', async (t) => {
  for (const code of [400, 401, 403, 406, 410, 451, 500, 501, 511, 429]) {
    t.same(await blameOf(t, [status(code)]), { status: code })
  }
  t.same(await blameOf(t, [], { url: `http://127.0.0.1:${await closedPort()}` }), {})
  t.same(await blameOf(t, [stallBeforeHeaders()], { headersTimeout: 100 }), {})
  t.same(await blameOf(t, [status(307, { location: 'https://login.example/' })]), { status: 307 })
})

t.test('a token service that is away is named', async (t) => {
  const host = `127.0.0.1:${await closedPort()}`
  const { fault } = tokenAuth({ realm: `http://${host}/token` })
  t.same(await blameOf(t, [fault]), { host })
})

t.test('a download host that is away or refuses is named', async (t) => {
  const host = `127.0.0.1:${await closedPort()}`
  const redirect = on(/blobs/, status(307, { location: `http://${host}/x` }))
  const resource = `blobs/${digest}`
  t.same(await blameOf(t, [redirect], { redirects: [host] }, resource), { host })
  const cdn = await startUpstream(t, { repositories: {}, faults: [status(403)] })
  const { host: refusing } = new URL(cdn.url)
  const toRefusing = on(/blobs/, status(307, { location: `${cdn.url}/x` }))
  const upstream = await startUpstream(t, { repositories: { app: image }, faults: [toRefusing] })
  const client = startUpstreams(t, { url: upstream.url, redirects: [refusing] })
  const { error } = await ask(client.open, { resource })
  t.same(error?.blame, { host: refusing, status: 403 })
  t.match(error?.message, `the download host ${refusing} of the upstream up`)
})

t.test('the message names the key that helps', async (t) => {
  for (const [location, message] of [
    ['http://cdn.example/x', /redirects to cdn\.example: .*add it to upstreams\.up\.redirects/],
    ['mailto:x', /not usable; check upstreams\.up\.url/],
  ] as const) {
    const upstream = await startUpstream(t, {
      repositories: { app: image },
      faults: [status(307, { location })],
    })
    const client = startUpstreams(t, { url: upstream.url })
    t.match((await ask(client.open, {})).error?.message, message)
  }
  const service = tokenAuth({ realm: 'http://login.example/token' })
  const upstream = await startUpstream(t, { repositories: { app: image }, faults: [service.fault] })
  const client = startUpstreams(t, { url: upstream.url })
  t.match(
    (await ask(client.open, {})).error?.message,
    /token service login\.example: .*add it to upstreams\.up\.auth\.realms/,
  )
})

t.test('a header that comes twice with the same value is that value', async (t) => {
  const twice = { 'x-twice': ['a/b', 'a/b'], 'x-both': ['a', 'b'] } as unknown as Record<
    string,
    string
  >
  const upstream = await startUpstream(t, {
    repositories: { app: image },
    faults: [withHeaders(twice)],
  })
  const client = startUpstreams(t, { url: upstream.url })
  const { response } = await ask(client.open, {})
  t.equal(response?.headers['x-twice'], 'a/b')
  t.equal(response?.headers['x-both'], 'a, b')
})

t.test('of an error page the beginning is told, and nothing that steers a terminal', async (t) => {
  const page = `\u001B[2J\u202Edatabase\n is away ${'x'.repeat(1000)}`
  const upstream = await startUpstream(t, {
    repositories: { app: image },
    faults: [status(500, {}, page)],
  })
  const client = startUpstreams(t, { url: upstream.url })
  const { error } = await ask(client.open, {})
  const detail = String((error?.cause as Error | undefined)?.message)
  t.match(detail, /database is away/)
  t.ok(detail.length < 400)
  t.notMatch(detail, /[\p{Cc}\p{Cf}]/u)
})

t.test('compression is not asked for', async (t) => {
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const client = startUpstreams(t, { url: upstream.url })
  await ask(client.open, {})
  t.equal(upstream.requests[0]?.headers['accept-encoding'], 'identity')
})

t.test('what a receiver finds wrong is counted each time and logged once a minute', async (t) => {
  const client = startUpstreams(t, { url: 'http://127.0.0.1:1' })
  const error = new GatewayError('UPSTREAM_FAILED', 'no manifest', { reason: 'bad_response' })
  client.report('up', error)
  client.report('up', error)
  t.same(client.badAnswers, [
    ['up', 'bad_response'],
    ['up', 'bad_response'],
  ])
  t.match(client.lines, [{ upstream: 'up', reason: 'bad_response', msg: 'no manifest' }])
})
