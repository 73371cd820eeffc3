// While an index is made anew from a long journal, whoever cannot be answered waits for it.
import { rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { onceMade } from '../../../src/cache/index/once-made.ts'
import { GatewayError } from '../../../src/errors.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { app, hashAll, largest, startSite, storedIn, until } from '../../helpers/cache.ts'
import { createOrigin } from '../../helpers/origin.ts'

/** More than anybody waits for at the start. */
const links = 40_000

/** A site that holds an image, and has lost its index beside a long journal. */
async function lostSite(t: Test) {
  const made = await startSite(t)
  const { image, dir, cache } = made
  await cache.tag(app, 'latest')
  for (const digest of image.manifests.keys()) await cache.manifest(app, digest)
  for (const digest of image.blobs.keys()) await hashAll(await cache.blob(app, digest))
  await cache.tags(app)
  await until(() => storedIn(dir).length === image.manifests.size + image.blobs.size, 'storing')
  await cache.close()
  const index = openIndex(dir)
  const elsewhere = { ...app, repository: 'elsewhere' }
  index.transaction(() => {
    for (let at = 0; at < links; at += 1) index.addLink(elsewhere, digestOf(`link ${at}`), 'blob')
  })
  index.close()
  t.ok(statSync(join(dir, 'journal')).size > 4 * 2 ** 20)
  for (const suffix of ['', '-wal', '-shm']) rmSync(join(dir, `index.db${suffix}`), { force: true })
  return made
}

/** All that is asked for at once, right after the start. */
async function assertServed(t: Test, { image, open }: Awaited<ReturnType<typeof lostSite>>) {
  const cache = open({ openUpstream: createOrigin({ 'registry.test': 'http://127.0.0.1:1' }) })
  const [digest, bytes] = largest(image)
  const [manifest = digest] = image.manifests.keys()
  const found = await Promise.all([
    cache.tag(app, 'latest'),
    cache.manifest(app, manifest),
    cache.blob(app, digest),
    cache.blobSize(app, digest),
    cache.tags(app),
  ])
  const [tag, byDigest, blob, { size }, { entries }] = found
  t.equal(tag.content.digest, image.tags.get('latest'))
  t.equal(byDigest.content.digest, manifest)
  t.equal(await hashAll(blob), digest)
  t.equal(size, bytes.length)
  t.same(entries, ['latest'])
  await t.rejects(async () => cache.blob(app, digestOf('not there')), 'what is not there fails')
}

t.test('offline: all that is held is served, from the first request on', async (t) => {
  const lost = await lostSite(t)
  lost.site.offline = true
  await assertServed(t, lost)
})

t.test('the same while the upstream cannot be reached', async (t) => {
  await assertServed(t, await lostSite(t))
})

t.test('one that takes too long, or cannot be made, is not waited for', async (t) => {
  const failure = new GatewayError('UNAVAILABLE', 'the gateway is offline')
  const index = { isProvisional: () => true }
  const fails = async () => Promise.reject(failure)
  const slow = { index, whole: async () => new Promise<void>(() => undefined) }
  await t.rejects(async () => onceMade(slow, fails, 20)(), failure)
  const failed = { index, whole: async () => undefined }
  await t.rejects(async () => onceMade(failed, fails, 60_000)(), failure)
})

t.test('what the upstream says is passed on at once', async (t) => {
  const unknown = new GatewayError('MANIFEST_UNKNOWN', 'the upstream has no such manifest')
  const kept = { index: { isProvisional: () => true }, whole: async () => void t.fail('waited') }
  await t.rejects(async () => onceMade(kept, async () => Promise.reject(unknown))(), unknown)
  t.equal(await onceMade(kept, async () => 'answer')(), 'answer')
})
