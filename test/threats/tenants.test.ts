// Threats by those who may come in: to get, to change, or to learn what is another's.
import { digestOf } from '../../src/oci/digest.ts'
import * as faults from '../helpers/upstream.ts'
import { startUpstream } from '../helpers/upstream.ts'
import { image, layer, layerPath, manifestPath, nothingLeaked, startSite, threat } from './site.ts'

const otherLayer = `/v2/other/app/blobs/${layer.digest}`
const manifestDigest = image.tags.get('1.0') ?? ''

threat("one repository's content asked through another", async (t) => {
  const site = await startSite(t)
  t.equal(digestOf((await site.send(layerPath)).body), layer.digest)
  const elsewhere = `/v2/third/app/blobs/${layer.digest}`
  for (const method of ['GET', 'HEAD']) {
    const answer = await site.send(elsewhere, { method })
    t.equal(answer.status, 404, method)
    nothingLeaked(t, answer.body)
  }
  const manifest = await site.send(`/v2/third/app/manifests/${manifestDigest}`)
  t.equal(manifest.status, 404)
  t.equal(
    digestOf((await site.send(otherLayer)).body),
    layer.digest,
    'who holds it by its own upstream gets it',
  )
})

threat('whether somebody else has it', async (t) => {
  const site = await startSite(t)
  await site.send(layerPath)
  const unknown = digestOf(Buffer.from('nobody has this'))
  for (const method of ['GET', 'HEAD']) {
    for (const headers of [{}, { range: 'bytes=0-9' }] as Record<string, string>[]) {
      const ask = async (digest: string) =>
        site.send(`/v2/third/app/blobs/${digest}`, { method, headers })
      const [cached, absent] = [await ask(layer.digest), await ask(unknown)]
      t.equal(cached.status, absent.status, method)
      t.equal(cached.body.toString(), absent.body.toString(), 'the same text')
    }
  }
})

threat('an upstream that claims to hold what is not its own', async (t) => {
  const liar = await startUpstream(t, {
    repositories: {},
    faults: [
      faults.on(/^HEAD/, faults.status(200, { 'content-length': '5' })),
      faults.on(/^GET/, faults.htmlPage()),
    ],
  })
  const site = await startSite(t, {
    upstreamKeys: `tagTtl: 5m }, liar.test: { url: '${liar.url}'`,
  })
  await site.send(layerPath)
  const answer = await site.send(`/v2/liar.test/app/blobs/${layer.digest}`)
  t.not(answer.status, 200)
  nothingLeaked(t, answer.body)
  const head = await site.send(`/v2/liar.test/app/blobs/${layer.digest}`, { method: 'HEAD' })
  t.not(head.headers['content-length'], String(layer.bytes.length), 'not even its size')
})

threat('a media type that another gave to the same content', async (t) => {
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, config: { digest: layer.digest, size: 1 }, layers: [] }),
  )
  const oci = 'application/vnd.oci.image.manifest.v1+json'
  const docker = 'application/vnd.docker.distribution.manifest.v2+json'
  const as = (type: string) => faults.status(200, { 'content-type': type }, bytes.toString())
  const first = await startUpstream(t, { repositories: {}, faults: [as(docker)] })
  const site = await startSite(t, {
    upstreamKeys: `tagTtl: 5m }, first.test: { url: '${first.url}'`,
    faults: [faults.on(/manifests/, as(oci))],
  })
  const path = `manifests/${digestOf(bytes)}`
  const before = await site.send(`/v2/app/${path}`)
  await site.send(`/v2/first.test/app/${path}`)
  const after = await site.send(`/v2/app/${path}`)
  t.equal(before.status, 200)
  t.equal(after.headers['content-type'], before.headers['content-type'])
})

threat('a media type that a browser runs, or that breaks a header', async (t) => {
  const document = (mediaType: string) =>
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: layer.digest, size: 2 },
      layers: [],
      annotations: { note: '<script>alert(1)</script>' },
    })
  for (const type of [
    'text/html',
    'image/svg+xml',
    'text/html; charset=utf-8',
    'a/b\r\nx: y',
    'x',
  ]) {
    const body = document(type)
    const fault = faults.status(200, { 'content-type': 'application/json' }, body)
    const site = await startSite(t, { faults: [faults.on(/manifests/, fault)] })
    for (const reference of ['1.0', digestOf(Buffer.from(body))]) {
      const answer = await site.send(`/v2/app/manifests/${reference}`)
      t.not(answer.status, 500, `${JSON.stringify(type)}: ${answer.status}`)
      t.notMatch(answer.headers['content-type'], /html|svg|xml/)
      t.equal(answer.headers['x'], undefined)
      t.equal(answer.headers['x-content-type-options'], 'nosniff')
      t.match(answer.headers['content-security-policy'], /default-src 'none'.*sandbox/)
    }
  }
})

threat('ns, X-Registry and prefixes that point anywhere', async (t) => {
  const site = await startSite(t)
  const hosts = ['127.0.0.1:1', 'localhost', 'evil.example', '169.254.169.254', '../..', '[::1]']
  for (const host of hosts) {
    const encoded = encodeURIComponent(host)
    t.equal((await site.send(`${manifestPath}?ns=${encoded}`)).status, 404, `ns ${host}`)
    const headers = { 'x-registry': host }
    t.equal((await site.send(manifestPath, { headers })).status, 404, `header ${host}`)
  }
  t.equal(site.upstream.requests.length, 0, 'nobody was asked')
})

threat('a target that can be read in two ways', async (t) => {
  const site = await startSite(t)
  const targets = [
    '/v2/app%2fother/manifests/1.0',
    '/v2/app/../other/manifests/1.0',
    '/v2/app/%2e%2e/manifests/1.0',
    '/v2/app/manifests/%252e',
    '/v2/app/manifests/1.0%00',
    '/v2/app\\other/manifests/1.0',
    '/v2//app/manifests/1.0',
    'http://elsewhere.example/v2/app/manifests/1.0',
    '/v2/app/manifests/1.0#fragment',
  ]
  for (const target of targets) {
    const { text } = await site.raw(
      `GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    )
    t.match(text, /^HTTP\/1.1 4\d\d /, target)
    nothingLeaked(t, text)
  }
  const twice = [
    'Host: localhost\r\nHost: other',
    'Host: localhost\r\nAuthorization: a\r\nAuthorization: b',
  ]
  for (const headers of twice) {
    const { text } = await site.raw(
      `GET ${manifestPath} HTTP/1.1\r\n${headers}\r\nConnection: close\r\n\r\n`,
    )
    t.match(text, /^HTTP\/1.1 400 /, headers)
  }
  t.equal(site.upstream.requests.length, 0)
})
