// How clients name what they want, and how an answer is protected from a browser, over real TLS.
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { contentHeaders } from '../../src/registry/answer.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { startUpstream } from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 300_000 })
const digest = image.tags.get('1.0') as Digest
const [large, bytes] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] as [
  Digest,
  Buffer,
]
const longest = 'a'.repeat(255)

async function start(t: Test) {
  const upstream = await startUpstream(t, {
    repositories: {
      'team/app': image,
      'library/app': image,
      [longest]: image,
      'Team/Model-7B': image,
    },
  })
  const gateway = await startTestGateway(
    t,
    `upstreams:
  registry.test: { url: '${upstream.url}' }
  docker.io: { url: '${upstream.url}' }
  models.test: { url: '${upstream.url}', caseSensitive: true }
defaultUpstream: registry.test
policy:
  default: deny
  rules:
    - { repositories: ['registry.test/**', 'docker.io/**', 'models.test/Team/*'] }
`,
  )
  const status = async (path: string, headers: Record<string, string> = {}) =>
    (await gateway.send(path, { headers })).status
  return { upstream, status, ...gateway }
}

t.test('a path prefix and ns that name the same upstream', async (t) => {
  const { status, lastRequest } = await start(t)
  const place = async () => {
    const { upstream, repository } = (await lastRequest()) ?? {}
    return [upstream, repository]
  }
  t.equal(await status('/v2/docker.io/app/manifests/1.0?ns=docker.io'), 200)
  t.same(await place(), ['docker.io', 'library/app'])
  t.equal(await status('/v2/docker.io/library/app/manifests/1.0?ns=docker.io'), 200)
  t.equal(await status('/v2/index.docker.io/app/manifests/1.0?ns=docker.io'), 200)
  t.equal(await status('/v2/registry.test/team/app/manifests/1.0?ns=registry.test'), 200)
  const header = { 'x-registry': 'registry.test' }
  t.equal(await status('/v2/registry.test/team/app/manifests/1.0', header), 200)
  t.equal(
    await status('/v2/docker.io/app/manifests/1.0?ns=registry.test'),
    404,
    'another one stays',
  )
  t.same(await place(), ['registry.test', 'docker.io/app'])
})

t.test('a mirror whose URL has a path', async (t) => {
  const { status, send, lastRequest } = await start(t)
  t.equal(await status('/docker.io/v2/'), 200)
  t.equal(await status('/docker.io/v2/library/app/manifests/1.0'), 200)
  t.match(await lastRequest(), { upstream: 'docker.io', repository: 'library/app' })
  t.equal(await status('/docker.io/v2/library/app/manifests/1.0?ns=docker.io'), 200)
  t.equal((await send(`/registry.test/v2/team/app/blobs/${large}`)).body.length, bytes.length)
  const tags = await send('/registry.test/v2/team/app/tags/list?n=1')
  t.match(tags.headers.link, /^<\/registry\.test\/v2\/team\/app\/tags\/list\?/)
  t.equal((await send(String(/^<(.*)>/.exec(String(tags.headers.link))?.[1]))).status, 200)
  t.match(await send('/evil.test/v2/app/manifests/1.0'), { status: 404, code: 'NAME_UNKNOWN' })
  t.match(await send('/registry.test/v2/team%2Fapp/manifests/1.0'), { status: 400 })
  t.match(await send('/../v2/team/app/manifests/1.0'), { status: 404 })
  t.match(await send('/docker.io/v2/a/manifests/1.0', { method: 'PUT' }), { status: 405 })
})

t.test('names of 255 characters, behind a prefix too', async (t) => {
  const { status, send } = await start(t)
  t.equal(await status(`/v2/${longest}/manifests/1.0`), 200)
  t.equal(await status(`/v2/registry.test/${longest}/manifests/1.0`), 200)
  for (const name of [`${longest}a`, `registry.test/${longest}a`]) {
    t.match(await send(`/v2/${name}/manifests/1.0`), { status: 400, code: 'NAME_INVALID' })
  }
})

t.test('capitals in names, where the upstream says so', async (t) => {
  const { status, send } = await start(t)
  t.equal(await status('/v2/Team/Model-7B/manifests/1.0?ns=models.test'), 200)
  t.equal(await status('/v2/models.test/Team/Model-7B/manifests/1.0'), 200)
  t.equal(await status('/v2/models.test/team/model-7b/manifests/1.0'), 403, 'another repository')
  t.match(await send('/v2/Team/Model-7B/manifests/1.0'), { status: 400, code: 'NAME_INVALID' })
  t.match(await send('/v2/docker.io/Team/x/manifests/1.0'), { status: 400, code: 'NAME_INVALID' })
  t.match(await send('/v2/models.test/Te..am/manifests/1.0'), { status: 400, code: 'NAME_INVALID' })
})

t.test('HEAD has no ranges, and conditions are taken as they are', async (t) => {
  const { send } = await start(t)
  const manifest = `/v2/team/app/manifests/${digest}`
  const blob = `/v2/team/app/blobs/${large}`
  await send(manifest)
  await send(blob)
  for (const path of [manifest, blob]) {
    const whole = await send(path, { method: 'HEAD' })
    const part = await send(path, { method: 'HEAD', headers: { range: 'bytes=1-2' } })
    t.equal(part.status, 200)
    t.equal(part.headers['content-length'], whole.headers['content-length'])
    t.equal(part.headers['content-range'], undefined)
    const beyond = await send(path, { method: 'HEAD', headers: { range: 'bytes=99999999-' } })
    t.equal(beyond.status, 200)
    const { etag = '' } = whole.headers
    const same: [noneMatch: string, status: number][] = [
      [etag, 304],
      [`W/${etag}`, 304],
      [`"x", ${etag}`, 304],
      ['*', 304],
      ['"x"', 200],
      ['"x", *', 200],
      [etag.replaceAll('"', ''), 200],
    ]
    for (const [value, status] of same) {
      for (const method of ['GET', 'HEAD']) {
        const answer = await send(path, { method, headers: { 'if-none-match': value } })
        t.equal(answer.status, status, `${method} ${value}`)
      }
    }
    for (const [value, status] of [
      [etag, 206],
      [`W/${etag}`, 200],
      ['*', 200],
    ] as const) {
      const headers = { range: 'bytes=1-2', 'if-range': value }
      t.equal((await send(path, { headers })).status, status, value)
    }
  }
})

t.test('no answer runs in a browser', async (t) => {
  const { send } = await start(t)
  for (const path of [
    '/v2/',
    '/v2/_catalog',
    `/v2/team/app/manifests/${digest}`,
    `/v2/team/app/blobs/${large}`,
    '/v2/team/app/tags/list',
    `/v2/team/app/referrers/${digest}`,
    '/v2/team/app/manifests/absent',
    '/token',
    '/elsewhere',
  ]) {
    const { headers } = await send(path)
    t.equal(headers['content-security-policy'], "default-src 'none'; sandbox", path)
    t.equal(headers['x-content-type-options'], 'nosniff', path)
  }
  const told = (mediaType: string) => contentHeaders({ mediaType, digest })[7]
  for (const type of [
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v1+prettyjws',
    'application/octet-stream',
    'application/vnd.cncf.helm.config.v1+json',
  ]) {
    t.ok(contentHeaders({ mediaType: type, digest }).includes(type), type)
  }
  for (const type of [
    'text/html',
    'TEXT/HTML',
    'application/xhtml+xml',
    'image/svg+xml',
    'application/xml',
    'application/javascript',
    'application/pdf',
    'application/json\r\nx: y',
    'application/json; charset=utf-8',
    'application/',
    `application/${'x'.repeat(200)}`,
    '',
  ]) {
    t.notOk(contentHeaders({ mediaType: type, digest }).includes(type), type)
    t.equal(told(type), 'application/octet-stream', type)
  }
})
