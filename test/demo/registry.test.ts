import { once } from 'node:events'
import { connect } from 'node:net'
import { request } from 'node:https'
import t, { type Test } from 'tap'
import { startRegistry, type RegistryOptions } from '../../src/demo/registry.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { makeCertificate } from '../helpers/certificates.ts'

const image = await buildSampleImage({ layerBytes: 300_000 })
const index = image.tags.get('latest') as Digest
const [large, largeBytes] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] as [
  Digest,
  Buffer,
]

async function start(t: Test, options: Partial<RegistryOptions> = {}) {
  const registry = await startRegistry({ repositories: { 'sample/app': image }, ...options })
  t.teardown(() => registry.close())
  return { ...registry, base: `${registry.url}/v2/sample/app` }
}

t.test('a manifest by tag and by digest, GET and HEAD', async (t) => {
  const { base, url } = await start(t)
  t.equal((await fetch(`${url}/v2/`)).status, 200)
  for (const reference of ['latest', '1.0', index, index.replace(':', '%3A')]) {
    for (const method of ['GET', 'HEAD']) {
      const response = await fetch(`${base}/manifests/${reference}`, { method })
      const body = Buffer.from(await response.arrayBuffer())
      t.equal(response.status, 200)
      t.equal(response.headers.get('docker-content-digest'), index)
      t.equal(response.headers.get('content-type'), 'application/vnd.oci.image.index.v1+json')
      t.equal(
        response.headers.get('content-length'),
        String(image.manifests.get(index)?.bytes.length),
      )
      if (method === 'GET') t.equal(digestOf(body), index)
      else t.equal(body.length, 0)
    }
  }
})

t.test('a blob, whole and in parts', async (t) => {
  const { base } = await start(t)
  const get = async (range?: string, method = 'GET') => {
    const headers: Record<string, string> = range === undefined ? {} : { range }
    const response = await fetch(`${base}/blobs/${large}`, { method, headers })
    return { response, body: Buffer.from(await response.arrayBuffer()) }
  }
  const whole = await get()
  t.equal(whole.response.status, 200)
  t.equal(whole.response.headers.get('etag'), `"${large}"`)
  t.ok(largeBytes.equals(whole.body))
  const size = whole.body.length

  const part = await get('bytes=1000-')
  t.equal(part.response.status, 206)
  t.equal(part.response.headers.get('content-range'), `bytes 1000-${size - 1}/${size}`)
  t.ok(largeBytes.subarray(1000).equals(part.body))
  t.ok(largeBytes.subarray(-10).equals((await get('bytes=-10')).body))

  const beyond = await get(`bytes=${size}-`)
  t.equal(beyond.response.status, 416)
  t.equal(beyond.response.headers.get('content-range'), `bytes */${size}`)

  const head = await get(undefined, 'HEAD')
  t.equal(head.response.headers.get('content-length'), String(size))
})

t.test('tags in pages', async (t) => {
  const { base } = await start(t)
  const all = await fetch(`${base}/tags/list`)
  t.same(await all.json(), { name: 'sample/app', tags: ['1.0', 'latest'] })
  t.equal(all.headers.get('link'), null)
  const first = await fetch(`${base}/tags/list?n=1`)
  t.same(await first.json(), { name: 'sample/app', tags: ['1.0'] })
  t.equal(first.headers.get('link'), '</v2/sample/app/tags/list?n=1&last=1.0>; rel="next"')
  const second = await fetch(`${base}/tags/list?n=1&last=1.0`)
  t.same(await second.json(), { name: 'sample/app', tags: ['latest'] })
  t.equal(second.headers.get('link'), null)
  t.equal((await fetch(`${base}/tags/list?n=x`)).status, 400)
})

t.test('referrers, filtered and empty', async (t) => {
  const { base } = await start(t)
  interface Index {
    manifests: { digest: string; artifactType: string; size: number }[]
  }
  const get = async (path: string) => {
    const response = await fetch(`${base}/referrers/${path}`)
    t.equal(response.headers.get('content-type'), 'application/vnd.oci.image.index.v1+json')
    return { response, list: ((await response.json()) as Index).manifests }
  }
  const { list } = await get(index)
  t.equal(list.length, 1)
  t.equal(list[0]?.artifactType, 'application/spdx+json')
  t.ok(image.manifests.has(list[0]?.digest as Digest))
  const filtered = await get(`${index}?artifactType=application/other`)
  t.same(filtered.list, [])
  t.equal(filtered.response.headers.get('oci-filters-applied'), 'artifactType')
  t.same((await get(digestOf('nothing'))).list, [])
})

t.test('errors have the OCI body', async (t) => {
  const { base, url } = await start(t)
  const codeOf = async (target: string, method = 'GET') => {
    const response = await fetch(target, { method })
    const { errors } = (await response.json()) as { errors: { code: string }[] }
    return `${response.status} ${errors[0]?.code}`
  }
  t.equal(await codeOf(`${base}/manifests/none`), '404 MANIFEST_UNKNOWN')
  t.equal(await codeOf(`${base}/blobs/${digestOf('')}`), '404 BLOB_UNKNOWN')
  t.equal(await codeOf(`${base}/blobs/sha256:12`), '400 DIGEST_INVALID')
  t.equal(await codeOf(`${url}/v2/other/tags/list`), '404 NAME_UNKNOWN')
  t.equal(await codeOf(`${base}/manifests/latest`, 'PUT'), '405 UNSUPPORTED')
})

t.test('requests are recorded, and a hook may answer them', async (t) => {
  const { base, requests } = await start(t, {
    onRequest: (req, res) => {
      if (req.method !== 'HEAD') return false
      res.writeHead(418).end()
      return true
    },
  })
  t.equal((await fetch(`${base}/manifests/latest`, { method: 'HEAD' })).status, 418)
  t.equal((await fetch(`${base}/tags/list`, { headers: { 'x-test': '1' } })).status, 200)
  t.match(requests, [
    { method: 'HEAD', url: '/v2/sample/app/manifests/latest' },
    { method: 'GET', url: '/v2/sample/app/tags/list', headers: { 'x-test': '1' } },
  ])
  t.notOk('peerSubject' in (requests[0] ?? {}))
})

t.test('over two-way TLS the caller is recorded, and nobody else gets in', async (t) => {
  const ca = await makeCertificate({ subject: 'CN=CA', ca: true })
  const issue = (subject: string, purpose: 'client' | 'server') =>
    makeCertificate({ subject, issuer: ca, purposes: [purpose], ipAddresses: ['127.0.0.1'] })
  const server = await issue('CN=upstream', 'server')
  const client = await issue('CN=gateway,O=Edge', 'client')
  const { base, requests } = await start(t, {
    tls: {
      cert: server.certificatePem,
      key: server.keyPem,
      ca: ca.certificatePem,
      requestCert: true,
      rejectUnauthorized: true,
    },
  })
  const get = (pair: { cert?: string; key?: string }) =>
    new Promise<number | undefined>((resolve, reject) => {
      const options = { ca: ca.certificatePem, agent: false as const, ...pair }
      const req = request(`${base}/tags/list`, options, (res) => resolve(res.resume().statusCode))
      req.on('error', reject).end()
    })
  t.equal(await get({ cert: client.certificatePem, key: client.keyPem }), 200)
  await t.rejects(get({}))
  t.equal(requests.length, 1)
  t.equal(requests[0]?.peerSubject, 'CN=gateway,O=Edge')
})

t.test('close leaves no connection', async (t) => {
  const registry = await startRegistry({ repositories: { a: image } })
  const socket = connect(registry.port, '127.0.0.1')
  socket.write(`GET /v2/a/blobs/${large} HTTP/1.1\r\nHost: x\r\n\r\n`)
  let received = 0
  const size = largeBytes.length
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    received += chunk.length
    if (received > size) break
  }
  t.ok(received > size, 'the whole body came')
  const closed = once(socket.resume(), 'close')
  await registry.close()
  await closed
  t.pass('the idle connection was ended')
})
