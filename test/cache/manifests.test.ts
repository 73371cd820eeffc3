// What an upstream can send instead of a manifest: nothing of it is served, and nothing kept.
import t from 'tap'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes, schema1Types } from '../../src/oci/media-type.ts'
import { manifestLimit } from '../../src/oci/manifest.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { openIndex } from '../../src/cache/index/content-index.ts'
import { app, listed, readAll, startSite, storedIn, until } from '../helpers/cache.ts'
import * as faults from '../helpers/upstream.ts'

const manifest = /manifests/
const json = { 'content-type': mediaTypes.ociIndex }

const wrong: Record<string, { list: faults.Fault[]; reason: string | RegExp }> = {
  'a web page': { list: [faults.htmlPage()], reason: /bad_response|digest_mismatch/ },
  'an altered byte': { list: [faults.flipByte(20)], reason: 'digest_mismatch' },
  'no bytes at all': { list: [faults.status(200, json)], reason: /bad_response|digest_mismatch/ },
  'an encoded body': { list: [faults.gzipEncoded()], reason: 'bad_response' },
  'a body that is too large, announced': {
    list: [faults.status(200, json, ' '.repeat(manifestLimit + 1))],
    reason: 'bad_response',
  },
  'a body that is too large, chunked': {
    list: [faults.chunked(), tooLong],
    reason: 'bad_response',
  },
  'a part that nobody asked for': { list: [faults.status(206, json)], reason: 'bad_response' },
  'a body that ends early': { list: [faults.closeAfter(20)], reason: /./ },
}

for (const [name, { list, reason }] of Object.entries(wrong)) {
  t.test(name, async (t) => {
    const { cache, upstream, image, dir } = await startSite(t, {
      faults: [faults.on(manifest, ...list)],
    })
    const digest = image.tags.get('latest') ?? digestOf('')
    const expected = { code: 'UPSTREAM_FAILED', reason }
    await t.rejects(async () => cache.manifest(app, digest), expected)
    await t.rejects(async () => cache.tag(app, 'latest'), expected)
    t.same(await listed(cache), [])
    t.same(storedIn(dir), [])
    upstream.fail()
    t.match(await cache.tag(app, 'latest'), { content: { digest } }, 'the next pull works')
    await until(() => storedIn(dir).length === 1)
  })
}

const invalid: Record<string, unknown> = {
  'both manifests and layers': { mediaType: mediaTypes.ociIndex, manifests: [], layers: [] },
  'another type than its lists say': { mediaType: mediaTypes.ociIndex, layers: [] },
  'a type that a browser runs': { mediaType: 'text/html', layers: [] },
  'a type with a line break': { mediaType: 'application/x\r\nx: y', layers: [] },
  'no JSON object': [],
  'nothing that a manifest has': {},
}

for (const [name, document] of Object.entries(invalid)) {
  t.test(`verified, but with ${name}`, async (t) => {
    const { cache, image, dir } = await startSite(t)
    const bytes = Buffer.from(JSON.stringify(document))
    const digest = digestOf(bytes)
    const served = name === 'nothing that a manifest has' ? 'application/json' : mediaTypes.ociIndex
    image.manifests.set(digest, { mediaType: served, bytes })
    image.tags.set('odd', digest)
    const expected = { code: 'UPSTREAM_FAILED', reason: 'bad_response' }
    await t.rejects(async () => cache.manifest(app, digest), expected)
    await t.rejects(async () => cache.tag(app, 'odd'), expected)
    t.same(storedIn(dir), [])
  })
}

t.test('a tag whose upstream names another digest than its bytes have', async (t) => {
  const other = digestOf('another')
  const { cache } = await startSite(t, {
    faults: [faults.on(manifest, faults.withHeaders({ 'docker-content-digest': other }))],
  })
  await t.rejects(async () => cache.tag(app, 'latest'), {
    code: 'UPSTREAM_FAILED',
    reason: 'digest_mismatch',
  })
})

t.test('one whose upstream names none, and a sha512 one', async (t) => {
  const image = await buildSampleImage({ layerBytes: 1000 })
  const latest = image.tags.get('latest')
  const { bytes = Buffer.alloc(0) } = image.manifests.get(latest as Digest) ?? {}
  const sha512 = digestOf(bytes, 'sha512')
  image.manifests.set(sha512, { mediaType: mediaTypes.ociIndex, bytes })
  const { cache, upstream } = await startSite(t, { image })
  t.match(await cache.manifest(app, sha512), { content: { digest: sha512 } })
  upstream.fail(faults.withHeaders({ 'docker-content-digest': '' }))
  t.match(await cache.tag(app, 'latest'), { content: { digest: latest } })
})

t.test('the largest manifest that is accepted', async (t) => {
  const { cache, image, open, site, dir } = await startSite(t)
  const text = JSON.stringify({ mediaType: mediaTypes.ociIndex, manifests: [] })
  const bytes = Buffer.from(text.padEnd(manifestLimit, ' '))
  const digest = digestOf(bytes)
  image.manifests.set(digest, { mediaType: mediaTypes.ociIndex, bytes })
  t.ok((await cache.manifest(app, digest)).content.bytes.equals(bytes))
  await until(() => storedIn(dir).length === 1)
  await cache.close()
  site.offline = true
  const found = await open().manifest(app, digest)
  t.equal(found.source, 'disk')
  t.ok(found.content.bytes.equals(bytes))
})

/** Without a length, so that only counting tells. */
function tooLong(...[, res]: Parameters<faults.Fault>): boolean {
  res.writeHead(200, json)
  const piece = Buffer.alloc(2 ** 20, ' ')
  for (let sent = 0; sent <= manifestLimit; sent += piece.length) res.write(piece)
  res.end()
  return true
}

t.test(
  'the type is that of the document, whatever it is sent as and whoever asks first',
  async (t) => {
    const { cache, image, open, counts } = await startSite(t)
    const { ociManifest, dockerManifest } = mediaTypes
    const documents = [
      {
        document: { mediaType: dockerManifest, layers: [] },
        sent: ociManifest,
        own: dockerManifest,
      },
      { document: { layers: [] }, sent: schema1Types.signed, own: ociManifest },
      { document: { layers: [], x: 1 }, sent: 'text/html; charset=utf-8', own: ociManifest },
    ]
    const digests = documents.map(({ document, sent }) => {
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...document }))
      const digest = digestOf(bytes)
      image.manifests.set(digest, { mediaType: sent, bytes })
      image.blobs.set(digest, bytes)
      return digest
    })
    const check = async (from: typeof cache) => {
      for (const [at, digest] of digests.entries()) {
        const blob = await from.blob(app, digest)
        t.equal(blob.content.mediaType, 'application/octet-stream')
        await readAll(blob)
        await until(() => counts.fills === 0)
        t.equal((await from.manifest(app, digest)).content.mediaType, documents[at]?.own)
        t.equal((await from.blob(app, digest)).content.mediaType, 'application/octet-stream')
        t.equal((await from.manifest(app, digest)).content.mediaType, documents[at]?.own)
      }
    }
    await check(cache)
    await check(cache)
    await cache.close()
    await check(open())
  },
)

t.test('wrong types in an index of before are not believed', async (t) => {
  const { cache, image, dir, open, site } = await startSite(t)
  const [good, bad] = ['', 'text/html'].map((mediaType) => {
    const own = mediaType === '' ? {} : { mediaType }
    return Buffer.from(JSON.stringify({ layers: [], ...own }))
  }) as [Buffer, Buffer]
  for (const bytes of [good, bad]) {
    image.manifests.set(digestOf(bytes), { mediaType: mediaTypes.ociManifest, bytes })
    image.blobs.set(digestOf(bytes), bytes)
    await readAll(await cache.blob(app, digestOf(bytes)))
  }
  await until(() => storedIn(dir).length === 2)
  await cache.close()
  const index = openIndex(dir)
  for (const bytes of [good, bad]) {
    const facts = index.content(digestOf(bytes)) ?? { size: 0, mtime: 0 }
    index.addContent(digestOf(bytes), { ...facts, mediaType: 'text/html\r\nx: y' })
    index.addLink(app, digestOf(bytes), 'manifest')
  }
  index.close()
  site.offline = true
  const again = open()
  t.equal((await again.manifest(app, digestOf(good))).content.mediaType, mediaTypes.ociManifest)
  await t.rejects(async () => again.manifest(app, digestOf(bad)), { code: 'UNAVAILABLE' })
  t.equal((await again.blob(app, digestOf(bad))).content.mediaType, 'application/octet-stream')
  await again.close()
  const healed = openIndex(dir)
  t.equal(healed.content(digestOf(good))?.mediaType, mediaTypes.ociManifest)
  healed.close()
})

/** As docker-registry 2 signs them. */
function signedSchema1(extra: object = {}, payloadExtra = '') {
  const payload = JSON.stringify(
    {
      schemaVersion: 1,
      name: 'app',
      tag: 'old',
      fsLayers: [{ blobSum: digestOf('x') }],
      history: [],
    },
    null,
    3,
  )
  const formatLength = payload.lastIndexOf('\n}')
  const head = { formatLength, formatTail: Buffer.from('\n}').toString('base64url') }
  const header = Buffer.from(JSON.stringify({ ...head, ...extra })).toString('base64url')
  const signatures = [{ header: { alg: 'ES256' }, signature: 'x', protected: header }]
  const tail = `${payloadExtra},\n   "signatures": ${JSON.stringify(signatures)}\n}`
  const bytes = Buffer.from(payload.slice(0, formatLength) + tail)
  return { bytes, digest: digestOf(payload) }
}

t.test(
  'signed manifests of schema 1: verified by their payload, passed on as they are',
  async (t) => {
    const { cache, image, open, site, dir } = await startSite(t)
    const { bytes, digest } = signedSchema1()
    image.manifests.set(digest, { mediaType: schema1Types.signed, bytes })
    image.tags.set('old', digest)
    const expected = { digest, mediaType: schema1Types.signed, bytes }
    t.match((await cache.tag(app, 'old')).content, expected)
    t.match((await cache.manifest(app, digest)).content, expected)
    await until(() => storedIn(dir).length === 1)
    t.same(storedIn(dir), [digestOf(bytes)], 'what lies there hashes to its name')
    await cache.close()
    site.offline = true
    const again = open()
    t.match((await again.manifest(app, digest)).content, expected)
    t.match((await again.tag(app, 'old')).content, expected)
  },
)

for (const [name, made] of Object.entries({
  'more than its payload': signedSchema1({}, ',\n   "layers": []'),
  'a length of its own': signedSchema1({ formatLength: 5 }),
  'no tail': signedSchema1({ formatTail: 1 }),
})) {
  t.test(`a signed manifest with ${name} is not believed`, async (t) => {
    const { cache, image } = await startSite(t)
    image.manifests.set(made.digest, { mediaType: schema1Types.signed, bytes: made.bytes })
    const expected = { code: 'UPSTREAM_FAILED', reason: 'digest_mismatch' }
    await t.rejects(async () => cache.manifest(app, made.digest), expected)
  })
}
