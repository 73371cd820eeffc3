// What a tag means: as long as it is fresh, when it is asked again, and while nobody can be asked.
import t from 'tap'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { app, minute, startSite } from '../helpers/cache.ts'
import { on, stallBeforeHeaders, status, withHeaders } from '../helpers/upstream.ts'

const tagTtl = 5 * minute
const staleIfError = 60 * minute
const heads = /^HEAD .*manifests\/latest/
const gets = /^GET .*manifests\/latest/

/** Lets the tag mean a manifest of its own. */
function move(image: SampleContent, text: string): Digest {
  const document = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [], text }
  const bytes = Buffer.from(JSON.stringify(document))
  const digest = digestOf(bytes)
  image.manifests.set(digest, { mediaType: mediaTypes.ociIndex, bytes })
  image.tags.set('latest', digest)
  return digest
}

/** A site that has pulled the tag. */
async function startPulled(...[t, options]: Parameters<typeof startSite>) {
  const site = await startSite(t, options)
  const { content } = await site.cache.tag(app, 'latest')
  return { ...site, digest: content.digest }
}

t.test('a fresh tag is served without asking, an old one is asked by HEAD', async (t) => {
  const { cache, upstream, clock, digest } = await startPulled(t)
  clock.time += tagTtl - 1
  t.match(await cache.tag(app, 'latest'), { content: { digest }, source: 'memory' })
  t.equal(upstream.requests.length, 1)
  clock.time += 1
  const revalidated = await cache.tag(app, 'latest')
  t.match(revalidated, { content: { digest }, source: 'memory' })
  t.notOk(revalidated.stale)
  t.equal(upstream.count(heads), 1)
  clock.time += tagTtl - 1
  await cache.tag(app, 'latest')
  t.equal(upstream.requests.length, 2, 'it counts as fresh again')
  clock.time -= 60 * minute
  await cache.tag(app, 'latest')
  t.equal(upstream.count(heads), 2, 'a clock that was set back makes nothing fresh')
})

t.test('a tag that moved is fetched, and so is one whose upstream tells no digest', async (t) => {
  const { cache, upstream, clock, image, digest: first } = await startPulled(t)
  const second = move(image, 'second')
  t.match(await cache.tag(app, 'latest'), { content: { digest: first } })
  clock.time += tagTtl
  t.match(await cache.tag(app, 'latest'), { content: { digest: second }, source: 'upstream' })
  t.same([upstream.count(heads), upstream.count(gets)], [1, 2])
  const third = move(image, 'third')
  clock.time += tagTtl
  upstream.fail(on(heads, withHeaders({ 'docker-content-digest': 'none' })))
  t.match(await cache.tag(app, 'latest'), { content: { digest: third } })
  t.equal(upstream.count(gets), 3)
})

for (const code of [401, 403, 405]) {
  t.test(`HEAD answered by ${code}: GET says what the tag means`, async (t) => {
    const { cache, upstream, clock, image } = await startPulled(t)
    const digest = move(image, 'moved')
    clock.time += tagTtl
    upstream.fail(on(heads, status(code)))
    const found = await cache.tag(app, 'latest')
    t.match(found, { content: { digest } })
    t.notOk(found.stale)
  })
}

t.test('a refusal is an answer: neither stale, nor forgotten', async (t) => {
  const { cache, upstream, clock, digest } = await startPulled(t)
  clock.time += tagTtl
  upstream.fail(status(403))
  await t.rejects(async () => cache.tag(app, 'latest'), { code: 'DENIED' })
  upstream.fail()
  t.match(await cache.tag(app, 'latest'), { content: { digest } })
  t.equal(upstream.count(gets), 2, 'HEAD was enough')
})

t.test('a tag that is gone is forgotten, on disk too', async (t) => {
  const { cache, clock, image, open, site } = await startPulled(t)
  image.tags.delete('latest')
  clock.time += tagTtl
  await t.rejects(async () => cache.tag(app, 'latest'), { code: 'MANIFEST_UNKNOWN' })
  await cache.close()
  site.offline = true
  await t.rejects(async () => open().tag(app, 'latest'), { code: 'UNAVAILABLE' })
})

for (const [what, code] of Object.entries({ fails: 503, 'limits the rate': 429 })) {
  t.test(`an upstream that ${what}: stale as long as allowed, asked every 15 s`, async (t) => {
    const { cache, upstream, clock, digest, counts } = await startPulled(t)
    upstream.fail(status(code))
    clock.time += tagTtl
    t.match(await cache.tag(app, 'latest'), { content: { digest }, stale: true })
    t.equal(upstream.count(heads), 1)
    clock.time += 14_999
    t.match(await cache.tag(app, 'latest'), { content: { digest }, stale: true })
    t.equal(upstream.count(heads), 1, 'it rests')
    clock.time += 1
    t.match(await cache.tag(app, 'latest'), { content: { digest }, stale: true })
    t.equal(upstream.count(heads), 2)
    t.equal(counts.hit, 3)
    clock.time += staleIfError - 15_001
    t.match(await cache.tag(app, 'latest'), { stale: true }, 'a moment before the end')
    clock.time += 1
    await t.rejects(async () => cache.tag(app, 'latest'), {
      code: code === 429 ? 'TOOMANYREQUESTS' : 'UPSTREAM_FAILED',
    })
    upstream.fail()
    const found = await cache.tag(app, 'latest')
    t.match(found, { content: { digest } })
    t.notOk(found.stale, 'what is not served stale is asked, rest or not')
  })
}

t.test('after an outage the upstream is asked again, and its answer ends the rest', async (t) => {
  const { cache, upstream, clock, image } = await startPulled(t, { patience: minute })
  clock.time += tagTtl
  upstream.fail(status(503))
  await cache.tag(app, 'latest')
  const digest = move(image, 'meanwhile')
  upstream.fail()
  clock.time += 15_000
  const found = await cache.tag(app, 'latest')
  t.match(found, { content: { digest } })
  t.notOk(found.stale)
  clock.time += tagTtl
  await cache.tag(app, 'latest')
  t.equal(upstream.count(heads), 3)
})

t.test('an upstream that is known to be away is not waited for', async (t) => {
  const { cache, upstream, clock, digest } = await startPulled(t, {
    stallTimeout: 60 * minute,
    patience: 10,
  })
  clock.time += tagTtl
  upstream.fail(status(503))
  await cache.tag(app, 'latest')
  clock.time += 15_000
  // Only a client that does not wait for the upstream gets an answer now.
  upstream.fail(stallBeforeHeaders())
  t.match(await cache.tag(app, 'latest'), { content: { digest }, stale: true })
  t.equal(upstream.count(heads), 2, 'it was asked')
  t.match(await cache.tag(app, 'latest'), { content: { digest }, stale: true })
  t.equal(upstream.count(heads), 2, 'and rests again')
  const requests = upstream.requests.length
  t.match(await cache.manifest(app, digest), { content: { digest }, source: 'memory' })
  t.equal(upstream.requests.length, requests, 'content by digest never asks')
})

t.test('a wrong answer is no outage: other tags are asked all the same', async (t) => {
  const { cache, upstream, clock, image } = await startPulled(t)
  await cache.tag(app, '1.0')
  clock.time += tagTtl
  upstream.fail(on(/tags\/list/, status(200, {}, '<html></html>')))
  t.match(await cache.tags(app), { entries: ['1.0', 'latest'], stale: true })
  const digest = move(image, 'moved')
  const found = await cache.tag(app, 'latest')
  t.match(found, { content: { digest } })
  t.notOk(found.stale)
})

t.test('offline: whatever the cache holds, however old', async (t) => {
  const { cache, clock, site, upstream, digest, open } = await startPulled(t)
  await cache.close()
  site.offline = true
  clock.time += 1000 * staleIfError
  const again = open()
  t.match(await again.tag(app, 'latest'), { content: { digest }, stale: true })
  await t.rejects(async () => again.tag(app, '1.0'), { code: 'UNAVAILABLE' })
  t.equal(upstream.requests.length, 1)
})

t.test('an unknown tag while the upstream cannot be asked', async (t) => {
  const { cache, upstream } = await startPulled(t)
  upstream.fail(status(503))
  await t.rejects(async () => cache.tag(app, 'unknown'), { code: 'UPSTREAM_FAILED' })
  upstream.fail()
  await t.rejects(async () => cache.tag(app, 'unknown'), { code: 'MANIFEST_UNKNOWN' })
})
