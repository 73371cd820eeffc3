// What a well-behaved upstream gives: once, verified, and from then on by itself.
import t from 'tap'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import {
  addBlob,
  app,
  hashAll,
  largest,
  listed,
  other,
  readAll,
  startSite,
  storedIn,
  until,
  untilNothingTemporary,
} from '../helpers/cache.ts'

t.test('an image is fetched once, then served without the upstream', async (t) => {
  const { image, upstream, cache, open, site, counts, dir } = await startSite(t)
  const pull = async (from: typeof cache) => {
    const sources = new Set<string>()
    const { content: index, source } = await from.tag(app, 'latest')
    sources.add(source)
    t.equal(index.mediaType, mediaTypes.ociIndex)
    for (const [digest, { bytes }] of image.manifests) {
      const found = await from.manifest(app, digest)
      t.ok(found.content.bytes.equals(bytes))
      sources.add(found.source)
    }
    for (const digest of image.blobs.keys()) {
      const found = await from.blob(app, digest)
      sources.add(found.source)
      t.equal(await hashAll(found), digest)
    }
    return [...sources].sort()
  }
  t.same(await pull(cache), ['fill', 'memory', 'upstream'])
  await until(() => storedIn(dir).length === image.blobs.size + image.manifests.size)
  t.equal(upstream.count(/./), image.blobs.size + image.manifests.size, 'one request for each')
  t.same(await pull(cache), ['disk', 'memory'])
  await cache.close()
  const all = image.blobs.size + image.manifests.size
  t.same(counts, { hit: all + 2, miss: all, coalesced: 0, fills: 0 })
  await untilNothingTemporary(dir)
  const before = upstream.requests.length
  site.offline = true
  const again = open()
  t.same(await pull(again), ['disk', 'memory'])
  t.equal(upstream.requests.length, before)
})

t.test('warm hits are synchronous, and give the same object', async (t) => {
  const { image, cache } = await startSite(t)
  const config = addBlob(image, Buffer.from('{"config":1}'))
  await cache.tag(app, 'latest')
  await readAll(await cache.blob(app, config))
  const tag = atOnce(cache.tag(app, 'latest'))
  t.equal(atOnce(cache.manifest(app, tag.content.digest)).content, tag.content)
  const blob = atOnce(cache.blob(app, config))
  t.equal(blob.source, 'memory')
  t.equal(atOnce(cache.blob(app, config)).content, blob.content)
  t.same(cache.blobSize(app, config), { size: 12, source: 'memory' })
})

t.test('large blobs: any offset, many readers, sizes without a download', async (t) => {
  const { image, cache, upstream, dir } = await startSite(t)
  const [digest, bytes] = largest(image)
  t.same(await cache.blobSize(app, digest), { size: bytes.length, source: 'upstream' })
  t.equal(upstream.count(/^GET/), 0)
  await hashAll(await cache.blob(app, digest))
  await until(() => storedIn(dir).length === 1)
  for (let round = 0; round < 3; round++) {
    const found = await cache.blob(app, digest)
    t.equal(found.source, 'disk')
    t.ok((await readAll(found, 1_234_567, 100_000)).equals(bytes.subarray(1_234_567)))
    t.equal(await hashAll(await cache.blob(app, digest)), digest)
  }
  t.same(cache.blobSize(app, digest), { size: bytes.length, source: 'disk' })
  t.equal(upstream.count(/^GET/), 1)
})

t.test('sha512, empty and one-byte blobs', async (t) => {
  const { image, cache, dir } = await startSite(t)
  const bytes = Buffer.alloc(600_000, 'sha512')
  const digest = digestOf(bytes, 'sha512')
  image.blobs.set(digest, bytes)
  t.ok((await readAll(await cache.blob(app, digest))).equals(bytes))
  for (const text of ['', 'x']) {
    const small = addBlob(image, Buffer.from(text))
    t.equal((await readAll(await cache.blob(app, small))).toString(), text)
    t.equal((await readAll(await cache.blob(app, small))).toString(), text)
  }
  await until(() => storedIn(dir).length === 3)
})

t.test('what the upstream does not have', async (t) => {
  const { cache } = await startSite(t)
  const digest = digestOf('nothing')
  await t.rejects(async () => cache.manifest(app, digest), { code: 'MANIFEST_UNKNOWN' })
  await t.rejects(async () => cache.tag(app, 'none'), { code: 'MANIFEST_UNKNOWN' })
  await t.rejects(async () => cache.blob(app, digest), { code: 'BLOB_UNKNOWN' })
  await t.rejects(async () => cache.blobSize(app, digest), { code: 'BLOB_UNKNOWN' })
  await t.rejects(cache.tags(other), { code: 'NAME_UNKNOWN' })
  t.same(await listed(cache), [])
})

t.test('what no upstream may be asked for', async (t) => {
  const { image, cache, site, upstream } = await startSite(t)
  site.offline = true
  const [digest] = largest(image)
  const expected = { code: 'UNAVAILABLE', message: /offline/ }
  await t.rejects(async () => cache.manifest(app, digest), expected)
  await t.rejects(async () => cache.tag(app, 'latest'), expected)
  await t.rejects(async () => cache.blob(app, digest), expected)
  await t.rejects(async () => cache.blobSize(app, digest), expected)
  await t.rejects(cache.tags(app), expected)
  await t.rejects(cache.referrers(app, digest), expected)
  t.equal(upstream.requests.length, 0)
})

t.test('one repository does not get what only another one has', async (t) => {
  const image = await buildSampleImage({ layerBytes: 2_000_000 })
  const empty = { blobs: new Map(), manifests: new Map(), tags: new Map() }
  const { cache, upstream, site } = await startSite(t, {
    image,
    repositories: { app: image, other: empty },
  })
  const [digest, bytes] = largest(image)
  const { content } = await cache.tag(app, 'latest')
  const filling = await cache.blob(app, digest)
  await t.rejects(
    async () => cache.blob(other, digest),
    { code: 'BLOB_UNKNOWN' },
    'not while it is filled',
  )
  await hashAll(filling)
  await t.rejects(async () => cache.blob(other, digest), { code: 'BLOB_UNKNOWN' })
  await t.rejects(async () => cache.blobSize(other, digest), { code: 'BLOB_UNKNOWN' })
  await t.rejects(async () => cache.manifest(other, content.digest), { code: 'MANIFEST_UNKNOWN' })
  site.offline = true
  await t.rejects(async () => cache.blob(other, digest), { code: 'UNAVAILABLE' })
  site.offline = false
  addBlob(empty, bytes)
  const gets = upstream.count(/^GET .*blobs/)
  t.equal(await hashAll(await cache.blob(other, digest)), digest)
  t.equal(upstream.count(/^GET .*blobs/), gets, 'confirmed by HEAD, served from the cache')
  const heads = upstream.count(/^HEAD/)
  t.equal(await hashAll(await cache.blob(other, digest)), digest)
  t.equal(upstream.count(/^HEAD/), heads, 'and remembered')
  t.match(await listed(cache), [app])
})

function atOnce<T extends object>(answer: T | Promise<T>): T {
  if (answer instanceof Promise) throw new Error('it is a promise')
  return answer
}
