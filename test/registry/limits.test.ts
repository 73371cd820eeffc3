// What one client may have of the gateway, over real TLS: more is 429, and others do not notice.
import { once } from 'node:events'
import { connect } from 'node:tls'
import t, { type Test } from 'tap'
import { METHODS } from 'node:http'
import { hashSync } from 'bcryptjs'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { startTestGateway, type Files } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import * as faults from '../helpers/upstream.ts'

const image = await buildSampleImage()
const pki = await testPki()
const path = '/v2/app/manifests/1.0'

async function start(t: Test, limits: string, more: { yaml?: string; files?: Files } = {}) {
  const upstream = await faults.startUpstream(t, { repositories: { app: image } })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}' } }
defaultUpstream: registry.test
${more.yaml ?? ''}`,
    { listen: `limits: { ${limits} }`, files: more.files ?? {} },
  )
  const metrics = async () => (await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)).text()
  return { upstream, metrics, ...gateway }
}

t.test('requests of one identity that are under way', async (t) => {
  const { upstream, send, metrics } = await start(t, 'requestsPerIdentity: 2')
  const gate = faults.gate()
  upstream.fail(faults.on(/manifests/, gate.fault))
  const first = send(path)
  const second = send('/v2/app/manifests/latest')
  await gate.held(2)
  const third = await send('/v2/')
  t.match(third, { status: 429, code: 'TOOMANYREQUESTS', headers: { 'retry-after': '5' } })
  t.equal((await send('/v2/', { client: null })).status, 200, 'another client is served')
  gate.open()
  t.same([(await first).status, (await second).status], [200, 200])
  t.equal((await send('/v2/')).status, 200)
  t.match(await metrics(), /portcullis_refused_callers_total\{reason="too_many_requests"\} 1/)
})

t.test('connections of one identity', async (t) => {
  const { send, port } = await start(t, 'connectionsPerIdentity: 2')
  const keep = async () => {
    const { certificatePem: cert, keyPem: key } = pki.client
    const socket = connect({ port, host: 'localhost', ca: pki.ca.certificatePem, cert, key })
    t.teardown(() => socket.destroy())
    socket.write('GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n')
    const [chunk] = (await once(socket, 'data')) as [Buffer]
    return { socket, status: Number(chunk.toString().slice(9, 12)) }
  }
  const first = await keep()
  t.equal(first.status, 200)
  t.equal((await keep()).status, 200)
  t.equal((await keep()).status, 429)
  t.equal((await send('/v2/', { client: null })).status, 200)
  first.socket.destroy()
  let status = 429
  for (let turn = 0; turn < 100 && status === 429; turn += 1) ({ status } = await send('/v2/'))
  t.equal(status, 200, 'there is room again')
})

t.test('the cold pulls of one client do not hold up those of another', async (t) => {
  const { upstream, send, lines } = await start(
    t,
    'upstreamRequests: 4, upstreamRequestsPerIdentity: 20',
  )
  const gate = faults.gate()
  upstream.fail(faults.on(/greedy/, gate.fault))
  const greedy = Array.from({ length: 30 }, async (_none, at) => send(`/v2/greedy/manifests/${at}`))
  await gate.held(2)
  t.equal((await send(path, { client: null })).status, 200)
  t.equal(upstream.count(/greedy/), 2, 'half of the places are left')
  gate.open()
  const statuses = (await Promise.all(greedy)).map(({ status }) => status)
  t.equal(statuses.filter((status) => status === 429).length, 10)
  t.equal(statuses.filter((status) => status === 404).length, 20)
  t.ok(lines.some(({ reason }) => reason === 'too_many_upstream_requests'))
  t.equal((await send(path)).status, 200, 'the upstream is not taken to be away')
})

t.test('requests for tokens have the same limit, for each certificate and address', async (t) => {
  const hash = hashSync('secret', 11)
  const { send, metrics } = await start(t, 'requestsPerIdentity: 2', {
    yaml: 'auth: { tokenService: { key: token.key, htpasswd: users } }\n',
    files: { users: `alice:${hash}\n` },
  })
  const headers = { authorization: `Basic ${Buffer.from('alice:secret').toString('base64')}` }
  const flood = Array.from({ length: 12 }, async () => send('/token', { client: null, headers }))
  const other = await send('/token')
  t.equal(other.status, 200, 'another client is served')
  const answers = await Promise.all(flood)
  const refused = answers.filter(({ status }) => status === 429)
  t.ok(refused.length > 0, `${refused.length} are refused`)
  t.ok(
    answers.some(({ status }) => status === 200),
    'those within the limit are served',
  )
  t.match(await metrics(), /portcullis_refused_callers_total\{reason="too_many_requests"\} [1-9]/)
})

t.test('what cannot be understood is 4xx', async (t) => {
  const { send, lines } = await start(t, '')
  const methods = METHODS.filter((method) => method !== 'CONNECT')
  for (const at of ['/v2/', path, '/token', '/token/jwks.json', '/x', '/v2/app/blobs/uploads/']) {
    for (const method of methods) {
      const { status } = await send(at, { method, headers: { 'content-length': '0' } })
      t.ok(status < 500, `${method} ${at}: ${status}`)
    }
    for (const type of [';;;', 'a/b; charset="', '\u00e9', 'application/json']) {
      const headers = { 'content-type': type }
      const { status } = await send(at, { method: 'POST', headers, body: '{' })
      t.ok(status >= 400 && status < 500, `${type} to ${at}: ${status}`)
    }
  }
  t.same(
    lines.filter(({ code }) => code === 'INTERNAL'),
    [],
  )
})
