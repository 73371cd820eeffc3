// The pull API of a whole gateway over TLS, in front of a real upstream that may misbehave.
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import * as faults from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 1_500_000 })
const index = image.tags.get('1.0') ?? ''
const [large, bytes] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] as [
  Digest,
  Buffer,
]
const small = [...image.blobs].find(([, { length }]) => length < 1000) as [Digest, Buffer]
const blob = `/v2/team/app/blobs/${large}`

async function start(t: Test, more = '', ...list: faults.Fault[]) {
  const upstream = await faults.startUpstream(t, {
    repositories: { 'team/app': image },
    faults: list,
  })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}'${more} } }\ndefaultUpstream: registry.test`,
  )
  return { upstream, ...gateway }
}

t.test('a manifest by tag and by digest, its bytes as they are', async (t) => {
  const { send, upstream, lastRequest } = await start(t)
  const byTag = await send('/v2/team/app/manifests/1.0')
  const manifest = image.manifests.get(index as Digest)
  t.equal(byTag.status, 200)
  t.ok(byTag.body.equals(manifest?.bytes ?? Buffer.alloc(0)))
  t.match(byTag.headers, {
    'content-type': manifest?.mediaType,
    'content-length': String(manifest?.bytes.length),
    'docker-content-digest': index,
    'docker-distribution-api-version': 'registry/2.0',
    'x-content-type-options': 'nosniff',
    etag: `"${index}"`,
  })
  t.match(await lastRequest(), {
    identity: 'CN=client',
    method: 'GET',
    upstream: 'registry.test',
    repository: 'team/app',
    reference: '1.0',
    status: 200,
    bytes: manifest?.bytes.length,
    ms: Number,
    ttfbMs: Number,
  })
  const byDigest = await send(`/v2/team/app/manifests/${index}`)
  t.ok(byDigest.body.equals(byTag.body))
  t.match(await lastRequest(), { source: 'memory', reference: index })
  const head = await send(`/v2/team/app/manifests/${index}`, { method: 'HEAD' })
  t.equal(head.body.length, 0)
  t.match(head.headers, { 'docker-content-digest': index, 'content-length': /^\d+$/ })
  t.equal(upstream.count(/manifests/), 1, 'the upstream was asked once')
  t.equal(upstream.requests[0]?.headers['x-forwarded-for'], undefined)
  const same = await send('/v2/team/app/manifests/1.0', {
    headers: { 'if-none-match': `"${index}"` },
  })
  t.equal(same.status, 304)
  t.equal(same.body.length, 0)
})

t.test('a request is called the same by its client, in the log and at the upstream', async (t) => {
  const { send, upstream, lastRequest } = await start(t)
  const path = '/v2/team/app/manifests/1.0'
  const named = await send(path, { headers: { 'x-request-id': 'deploy-7.Site_2' } })
  t.equal(named.headers['x-request-id'], 'deploy-7.Site_2')
  t.match(await lastRequest(), { requestId: 'deploy-7.Site_2' })
  t.equal(upstream.requests.at(-1)?.headers['x-request-id'], 'deploy-7.Site_2')

  const ids = new Set<string>()
  const given = ['', 'a b', 'x'.repeat(65), 'a"b', 'é', undefined]
  for (const bad of given) {
    for (const asked of [
      path,
      '/v2/',
      '/v2/team/app/tags/list',
      '/nowhere',
      '/v2/team/app/manifests/no',
    ]) {
      const headers = bad === undefined ? {} : { 'x-request-id': bad }
      const id = String((await send(asked, { headers })).headers['x-request-id'])
      t.match(id, /^[0-9a-z]{10}-[0-9a-z]+$/, `${asked} ${bad}`)
      t.match(await lastRequest(), { requestId: id })
      ids.add(id)
    }
  }
  t.equal(ids.size, given.length * 5, 'each has its own')
  const blob = await send(`/v2/team/app/blobs/sha256:${'0'.repeat(64)}`)
  t.equal(upstream.requests.at(-1)?.headers['x-request-id'], blob.headers['x-request-id'])
})

t.test('blobs and parts of them, cold and warm', async (t) => {
  for (const first of ['bytes=1000000-', 'bytes=-7']) {
    const { send } = await start(t)
    const cold = await send(blob, { headers: { range: first } })
    t.equal(cold.status, 206, `${first} cold`)
    const from = first === 'bytes=-7' ? bytes.length - 7 : 1_000_000
    t.ok(cold.body.equals(bytes.subarray(from)))
    t.equal(cold.headers['content-range'], `bytes ${from}-${bytes.length - 1}/${bytes.length}`)
    const warm = await send(blob, { headers: { range: first } })
    t.ok(warm.body.equals(cold.body))
  }
  const { send, upstream, lastRequest } = await start(t)
  const whole = await send(blob)
  t.equal(digestOf(whole.body), large)
  t.match(whole.headers, {
    'content-type': 'application/octet-stream',
    'content-length': String(bytes.length),
    'accept-ranges': 'bytes',
    'docker-content-digest': large,
  })
  t.match(await lastRequest(), { source: 'fill', bytes: bytes.length })
  const part = await send(blob, { headers: { range: 'bytes=10-19', 'if-range': `"${large}"` } })
  t.equal(part.status, 206)
  t.ok(part.body.equals(bytes.subarray(10, 20)))
  const changed = await send(blob, { headers: { range: 'bytes=10-19', 'if-range': '"other"' } })
  t.equal(changed.status, 200)
  t.equal(changed.body.length, bytes.length)
  const beyond = await send(blob, { headers: { range: `bytes=${bytes.length}-` } })
  t.match(beyond, { status: 416, code: 'RANGE_INVALID' })
  t.equal(beyond.headers['content-range'], `bytes */${bytes.length}`)
  const same = await send(blob, { headers: { 'if-none-match': '*' } })
  t.equal(same.status, 304)
  const head = await send(blob, { method: 'HEAD' })
  t.equal(head.headers['content-length'], String(bytes.length))
  const tiny = await send(`/v2/team/app/blobs/${small[0]}`, { headers: { range: 'bytes=1-2' } })
  t.ok(tiny.body.equals(small[1].subarray(1, 3)))
  t.equal(upstream.count(new RegExp(`GET .*${large}`)), 1)
})

t.test('a HEAD of a blob that is not here downloads nothing', async (t) => {
  const { send, upstream } = await start(t)
  const head = await send(blob, { method: 'HEAD' })
  t.equal(head.headers['content-length'], String(bytes.length))
  t.equal(upstream.count(/^GET/), 0)
  const unknown = `/v2/team/app/blobs/${digestOf('nothing')}`
  t.equal((await send(unknown, { method: 'HEAD' })).status, 404)
  t.match(await send(unknown), { status: 404, code: 'BLOB_UNKNOWN' })
})

t.test('tags in pages, referrers by type, the catalog', async (t) => {
  const { send } = await start(t)
  const all = await send('/v2/team/app/tags/list')
  t.same(JSON.parse(all.body.toString()), { name: 'team/app', tags: ['1.0', 'latest'] })
  const first = await send('/v2/team/app/tags/list?n=1&ns=registry.test')
  t.same(JSON.parse(first.body.toString()).tags, ['1.0'])
  const link = /^<(.*)>; rel="next"$/.exec(String(first.headers.link))?.[1] ?? ''
  t.match(link, /^\/v2\/team\/app\/tags\/list\?.*ns=registry\.test/)
  const second = await send(link)
  t.same(JSON.parse(second.body.toString()).tags, ['latest'])
  t.equal(second.headers.link, undefined)
  t.match(await send('/v2/team/app/tags/list?n=-1'), {
    status: 400,
    code: 'PAGINATION_NUMBER_INVALID',
  })

  const referrers = await send(`/v2/team/app/referrers/${index}`)
  const { manifests } = JSON.parse(referrers.body.toString()) as {
    manifests: { artifactType: string }[]
  }
  t.equal(referrers.headers['content-type'], 'application/vnd.oci.image.index.v1+json')
  t.equal(manifests.length, 1)
  const none = await send(`/v2/team/app/referrers/${index}?artifactType=a/b`)
  t.same(JSON.parse(none.body.toString()).manifests, [])
  t.equal(none.headers['oci-filters-applied'], 'artifactType')

  await send('/v2/team/app/manifests/1.0')
  const catalog = await send('/v2/_catalog')
  t.same(JSON.parse(catalog.body.toString()), { repositories: ['registry.test/team/app'] })
  const own = await send('/v2/_catalog?ns=registry.test')
  t.same(JSON.parse(own.body.toString()), { repositories: ['team/app'] })
})

t.test('the upstream is named by ns, header, path or default', async (t) => {
  const { send, upstream } = await start(t)
  const byNs = await send('/v2/team/app/manifests/1.0?ns=registry.test')
  t.equal(byNs.headers['oci-namespace'], 'registry.test')
  t.equal((await send('/v2/registry.test/team/app/manifests/1.0')).status, 200)
  const headers = { 'x-registry': 'registry.test' }
  t.equal((await send('/v2/team/app/manifests/1.0', { headers })).status, 200)
  const asked = upstream.requests.length
  t.match(await send('/v2/team/app/manifests/1.0?ns=evil.example'), {
    status: 404,
    code: 'NAME_UNKNOWN',
  })
  const evil = { 'x-registry': '127.0.0.1' }
  t.match(await send('/v2/team/app/manifests/1.0', { headers: evil }), { code: 'NAME_UNKNOWN' })
  t.match(await send('/v2/team/app/manifests/1.0?ns=a&ns=b'), { code: 'REQUEST_INVALID' })
  t.equal(upstream.requests.length, asked, 'nothing was asked upstream')
})

t.test('everything else is refused in the form of the specification', async (t) => {
  const { send } = await start(t)
  t.match(await send('/v2/'), { status: 200, body: Buffer.from('{}') })
  t.equal((await send('/v2')).status, 200)
  const cases: [method: string, path: string, status: number, code: string][] = [
    ['GET', '/', 404, 'NOT_FOUND'],
    ['GET', '/v2/team/app', 404, 'NOT_FOUND'],
    ['GET', '/token', 404, 'NOT_FOUND'],
    ['GET', '/v2/Team/manifests/1.0', 400, 'NAME_INVALID'],
    ['GET', '/v2/team/app/manifests/sha256:abc', 400, 'DIGEST_INVALID'],
    ['GET', '/v2/team%2Fapp/manifests/1.0', 400, 'REQUEST_INVALID'],
    ['GET', '/v2/team/%2e%2e/app/manifests/1.0', 400, 'REQUEST_INVALID'],
    ['GET', '/v2/team/../app/manifests/1.0', 400, 'NAME_INVALID'],
    ['GET', '/v2/team/app/manifests/absent', 404, 'MANIFEST_UNKNOWN'],
    ['GET', '/v2/team/other/manifests/1.0', 404, 'MANIFEST_UNKNOWN'],
    ['GET', '/v2/team/other/tags/list', 404, 'NAME_UNKNOWN'],
    ['PUT', '/v2/team/app/manifests/1.0', 405, 'UNSUPPORTED'],
    ['POST', '/v2/team/app/blobs/uploads/', 405, 'UNSUPPORTED'],
    ['GET', '/v2/team/app/blobs/uploads/1', 405, 'UNSUPPORTED'],
    ['DELETE', `/v2/team/app/manifests/${index}`, 405, 'UNSUPPORTED'],
    ['PATCH', '/elsewhere', 405, 'UNSUPPORTED'],
  ]
  for (const [method, path, status, code] of cases) {
    t.match(await send(path, { method }), { status, code }, `${method} ${path}`)
  }
  const put = await send('/v2/a/manifests/b', { method: 'PUT', body: '{"not":"read"}' })
  t.equal(put.headers.allow, 'GET, HEAD')
})

t.test('a tag is served stale while the upstream is away, and says so', async (t) => {
  const { send, upstream } = await start(t, ', tagTtl: 0s')
  t.equal((await send('/v2/team/app/manifests/1.0')).headers.warning, undefined)
  upstream.fail(faults.status(500))
  const stale = await send('/v2/team/app/manifests/1.0')
  t.equal(stale.status, 200)
  t.match(stale.headers.warning, /^110 /)
  t.match(await send('/v2/team/app/manifests/2.0'), { status: 502, code: 'UPSTREAM_FAILED' })
})

t.test('a body that cannot be completed ends with the connection', async (t) => {
  const { open, upstream, send, lastRequest } = await start(t, '', faults.flipByte(1_400_000))
  const response = await open(blob)
  t.equal(response.statusCode, 200)
  let received = 0
  response.on('data', (chunk: Buffer) => (received += chunk.length))
  const [error] = (await once(response, 'error')) as [Error]
  t.match(error, { code: 'ECONNRESET' })
  t.ok(received < bytes.length, 'never all of it')
  t.match(await lastRequest(), { reason: 'digest_mismatch', code: 'UPSTREAM_FAILED' })
  upstream.fail()
  t.equal(digestOf((await send(blob)).body), large, 'the next one is right')
})

t.test('a client that leaves ends nothing', async (t) => {
  const gate = faults.gate()
  const { open, send, upstream } = await start(t, '', faults.on(/blobs/, gate.fault))
  const leaving = open(blob)
  leaving.catch(() => undefined)
  await gate.held(1)
  const staying = send(blob)
  gate.open()
  const response = await leaving
  response.destroy()
  t.equal(digestOf((await staying).body), large)
  t.equal(upstream.count(/^GET .*blobs/), 1)
})

t.test('a slow client gets everything, and the next one too', async (t) => {
  const { open, send } = await start(t)
  const response = await open(blob)
  response.pause()
  t.equal(digestOf((await send(blob)).body), large)
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  t.equal(digestOf(Buffer.concat(chunks)), large)
})
