// What an upstream can send instead of a manifest: nothing of it is served, and nothing kept.
import t from 'tap'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { manifestLimit } from '../../src/oci/manifest.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { app, startSite, storedIn, until } from '../helpers/cache.ts'
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
    t.same(cache.repositories(), [])
    t.same(storedIn(dir), [])
    upstream.fail()
    t.match(await cache.tag(app, 'latest'), { content: { digest } }, 'the next pull works')
    await until(() => storedIn(dir).length === 1)
  })
}

const invalid: Record<string, unknown> = {
  'both manifests and layers': { mediaType: mediaTypes.ociIndex, manifests: [], layers: [] },
  'another type than it was sent as': { mediaType: mediaTypes.ociManifest, layers: [] },
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
  const image = buildSampleImage({ layerBytes: 1000 })
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
