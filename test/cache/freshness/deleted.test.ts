// What the registry does not have: kept or dropped, and remembered for a while.
import t, { type Test } from 'tap'
import { digestOf } from '../../../src/oci/digest.ts'
import { app, minute, other, readAll, largest, startSite } from '../../helpers/cache.ts'
import { on, status } from '../../helpers/upstream.ts'

const tagTtl = 5 * minute
const ofRegistry = status(404, { 'docker-distribution-api-version': 'registry/2.0' })

/** The tag `latest` has been pulled, and has to be asked again. */
async function startPulled(t: Test, onUpstreamDelete: 'keep' | 'drop', negativeTtl = 0) {
  const freshness = { tagTtl, staleIfError: 60 * minute, onUpstreamDelete, negativeTtl }
  const site = await startSite(t, { freshnessOf: () => freshness })
  const { content } = await site.cache.tag(app, 'latest')
  site.clock.time += tagTtl
  return { ...site, freshness, digest: content.digest }
}

t.test('keep: a tag that the registry has deleted is served on, and says so', async (t) => {
  const { cache, image, clock, upstream, digest } = await startPulled(t, 'keep')
  image.tags.delete('latest')
  t.match(await cache.tag(app, 'latest'), { content: { digest }, stale: true })
  clock.time += 1000 * 60 * minute
  t.match(await cache.tag(app, 'latest'), { content: { digest }, stale: true }, 'however long')
  upstream.fail(on(/tags\/list/, ofRegistry))
  t.match(await cache.tags(app), { entries: ['latest'], stale: true })
  image.tags.set('latest', digest)
  t.notOk((await cache.tag(app, 'latest')).stale, 'it is back')
})

t.test('keep: nothing is kept that was not there', async (t) => {
  const { cache } = await startPulled(t, 'keep')
  await t.rejects(async () => cache.tag(app, 'unknown'), { code: 'MANIFEST_UNKNOWN' })
  await t.rejects(cache.tags(other), { code: 'NAME_UNKNOWN' })
})

t.test('drop: a tag that the registry has deleted is gone', async (t) => {
  const { cache, image, site } = await startPulled(t, 'drop')
  image.tags.delete('latest')
  await t.rejects(async () => cache.tag(app, 'latest'), { code: 'MANIFEST_UNKNOWN' })
  site.offline = true
  await t.rejects(async () => cache.tag(app, 'latest'), { code: 'UNAVAILABLE' })
})

const harmless = {
  'an outage': status(503),
  'a 404 of an ingress': status(404, {}, '404 page not found\n'),
  'a refusal': status(403),
  'refused credentials': status(401, { 'www-authenticate': 'Basic realm="x"' }),
}
for (const [what, fault] of Object.entries(harmless)) {
  t.test(`drop: ${what} takes nothing away`, async (t) => {
    const { cache, upstream, site, digest } = await startPulled(t, 'drop')
    upstream.fail(fault)
    await Promise.allSettled([cache.tag(app, 'latest'), cache.tags(app)])
    site.offline = true
    t.match(await cache.tag(app, 'latest'), { content: { digest }, stale: true })
  })
}

t.test('what a registry does not have is not asked again for a while', async (t) => {
  const { cache, image, upstream, clock } = await startPulled(t, 'keep', 30_000)
  const digest = digestOf('none of it')
  const version = { 'docker-distribution-api-version': 'registry/2.0' }
  upstream.fail(on(/blobs/, status(404, version)))
  image.tags.delete('latest')
  const asks = async () => {
    await t.rejects(async () => cache.tag(app, 'unknown'), { code: 'MANIFEST_UNKNOWN' })
    await t.rejects(async () => cache.manifest(app, digest), { code: 'MANIFEST_UNKNOWN' })
    await t.rejects(async () => cache.blob(app, digest), { code: 'BLOB_UNKNOWN' })
    await t.rejects(async () => cache.blobSize(app, digest), { code: 'BLOB_UNKNOWN' })
    t.match(await cache.tag(app, 'latest'), { stale: true })
  }
  await asks()
  const requests = upstream.requests.length
  await asks()
  t.equal(upstream.requests.length, requests, 'nothing is asked')
  await t.rejects(async () => cache.tag(other, 'unknown'), { code: 'MANIFEST_UNKNOWN' })
  t.equal(upstream.requests.length, requests + 1, 'another repository is another question')
  clock.time += 30_000
  upstream.fail()
  await asks().catch(() => undefined)
  t.ok(upstream.requests.length > requests + 1, 'it is asked again')
  const [layer, bytes] = largest(image)
  t.same(await readAll(await cache.blob(app, layer)), bytes)
})

t.test('a blob that a manifest names is asked for again', async (t) => {
  const { cache, upstream, image } = await startPulled(t, 'keep', 30_000)
  const [layer, bytes] = largest(image)
  const version = { 'docker-distribution-api-version': 'registry/2.0' }
  upstream.fail(on(/blobs/, status(404, version)))
  await t.rejects(async () => cache.blob(app, layer), { code: 'BLOB_UNKNOWN' })
  upstream.fail()
  await t.rejects(async () => cache.blob(app, layer), { code: 'BLOB_UNKNOWN' })
  for (const digest of image.manifests.keys()) await cache.manifest(app, digest)
  t.ok((await readAll(await cache.blob(app, layer))).equals(bytes), 'it was pushed meanwhile')
})

t.test('only what a registry itself says is remembered', async (t) => {
  const { cache, upstream } = await startPulled(t, 'drop', 30_000)
  upstream.fail(status(404, {}, '404 page not found\n'))
  await t.rejects(async () => cache.tag(app, '1.0'), { code: 'MANIFEST_UNKNOWN' })
  await t.rejects(async () => cache.blob(app, digestOf('a')), { code: 'BLOB_UNKNOWN' })
  upstream.fail()
  await cache.tag(app, '1.0')
  await t.rejects(async () => cache.blob(app, digestOf('a')), { code: 'BLOB_UNKNOWN' })
  t.equal(upstream.count(/blobs/), 2)
})

t.test('one upstream is offline, another is asked', async (t) => {
  const { cache, upstream, clock } = await startSite(t, {
    offline: (name) => name === 'away.test',
  })
  const away = { upstream: 'away.test', repository: 'app' }
  const refused = { code: 'UNAVAILABLE', message: /offline for away\.test/ }
  await t.rejects(async () => cache.tag(away, 'latest'), refused)
  await t.rejects(async () => cache.blob(away, digestOf('a')), refused)
  await t.rejects(cache.tags(away), refused)
  t.equal(upstream.requests.length, 0)
  await cache.tag(app, 'latest')
  clock.time += tagTtl
  t.notOk((await cache.tag(app, 'latest')).stale)
})
