// Blobs that another repository has brought: who is believed to hold them too, and HEAD in all its ways.
import t, { type Test } from 'tap'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import {
  addBlob,
  app,
  hashAll,
  minute,
  other,
  readAll,
  startSite,
  until,
} from '../helpers/cache.ts'
import { createOrigin } from '../helpers/origin.ts'
import * as faults from '../helpers/upstream.ts'

const evil = { upstream: 'evil.test', repository: 'app' }
const secret = Buffer.from('a layer of somebody else '.repeat(20_000))
const heads = /^HEAD .*blobs/
const gets = /^GET .*blobs/

function length(bytes: number): Record<string, string> {
  return { 'content-length': String(bytes) }
}

function empty(): SampleContent {
  return { blobs: new Map(), manifests: new Map(), tags: new Map() }
}

/** Two upstreams; the cache holds a blob of the first. */
async function startPair(t: Test, ...list: faults.Fault[]) {
  const [mine, theirs] = [empty(), empty()]
  const digest = addBlob(mine, secret)
  const second = await faults.startUpstream(t, { repositories: { app: theirs }, faults: list })
  const urls: Record<string, string> = { 'evil.test': second.url }
  const site = await startSite(t, {
    repositories: { app: mine, other: mine },
    openUpstream: (request, receiver) => createOrigin(urls)(request, receiver),
  })
  urls['registry.test'] = site.upstream.url
  await readAll(await site.cache.blob(app, digest))
  await until(() => site.counts.fills === 0, 'the end of the download')
  return { ...site, mine, digest, second, theirs }
}

const lies: Record<string, faults.Fault> = {
  'HEAD with the right length': faults.on(heads, faults.status(200, length(secret.length))),
  'a page of a captive portal': faults.htmlPage(),
  'bytes of another content': faults.status(200, length(secret.length), 'x'.repeat(secret.length)),
}

for (const [name, fault] of Object.entries(lies)) {
  t.test(`an upstream's word opens nothing of others: ${name}`, async (t) => {
    const { cache, digest, second } = await startPair(t, fault)
    for (let round = 0; round < 3; round += 1) {
      await Promise.resolve(cache.blobSize(evil, digest)).catch(() => undefined)
      await t.rejects(async () => readAll(await cache.blob(evil, digest)))
    }
    second.fail()
    await t.rejects(async () => cache.blob(evil, digest), { code: 'BLOB_UNKNOWN' })
  })
}

t.test('a manifest that names it is the word of an upstream as well', async (t) => {
  const { cache, digest, theirs } = await startPair(t)
  const layers = [{ mediaType: 'a/b', digest, size: secret.length }]
  const mediaType = mediaTypes.ociManifest
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, layers }))
  theirs.manifests.set(digestOf(bytes), { mediaType, bytes })
  await cache.manifest(evil, digestOf(bytes))
  await t.rejects(async () => cache.blob(evil, digest), { code: 'BLOB_UNKNOWN' })
})

t.test('an upstream that delivers it has it: from then on it comes from the cache', async (t) => {
  const { cache, digest, second, theirs, counts } = await startPair(t)
  addBlob(theirs, secret)
  t.equal(await hashAll(await cache.blob(evil, digest)), digest)
  t.equal(second.count(gets), 1, 'proven by its bytes')
  await until(() => counts.fills === 0, 'the end of the download')
  const again = await cache.blob(evil, digest)
  t.not(again.source, 'fill')
  t.equal(await hashAll(again), digest)
  t.equal(second.count(gets), 1)
})

t.test('nor is a download that is under way for others followed', async (t) => {
  const valve = faults.valveAfter(100_000)
  const { cache, image, upstream, second, theirs } = await startTwoCold(t, valve.fault)
  const digest = [...image.blobs.keys()][0] as Digest
  const slow = await cache.blob(app, digest)
  await t.rejects(async () => cache.blob(evil, digest), { code: 'BLOB_UNKNOWN' })
  addBlob(theirs, secret)
  t.equal(await hashAll(await cache.blob(evil, digest)), digest, 'nor waited for')
  const same = await cache.blob(app, digest)
  valve.open()
  t.same(await Promise.all([hashAll(slow), hashAll(same)]), [digest, digest])
  t.equal(upstream.count(gets), 1, 'its own is joined')
  t.equal(second.count(gets), 2)
})

async function startTwoCold(t: Test, fault: faults.Fault) {
  const [mine, theirs] = [empty(), empty()]
  addBlob(mine, secret)
  const second = await faults.startUpstream(t, { repositories: { app: theirs } })
  const urls: Record<string, string> = { 'evil.test': second.url }
  const site = await startSite(t, {
    repositories: { app: mine },
    faults: [fault],
    openUpstream: (request, receiver) => createOrigin(urls, minute)(request, receiver),
  })
  urls['registry.test'] = site.upstream.url
  return { ...site, image: mine, second, theirs }
}

t.test('the upstream that brought it is believed without the bytes', async (t) => {
  const { cache, digest, upstream } = await startPair(t)
  const before = upstream.count(gets)
  t.equal(await hashAll(await cache.blob(other, digest)), digest)
  t.equal(upstream.count(gets), before)
  t.equal(upstream.count(heads), 1)
})

t.test('unless it tells another length: then it has to send it', async (t) => {
  const { cache, digest, upstream } = await startPair(t)
  upstream.fail(faults.on(heads, faults.status(200, length(5))))
  const before = upstream.count(gets)
  t.equal(await hashAll(await cache.blob(other, digest)), digest)
  t.equal(upstream.count(gets), before + 1)
})

const ways: Record<string, faults.Fault> = {
  ...Object.fromEntries(
    [400, 401, 403, 404, 405, 406, 410, 416, 500, 501, 503].map((code) => [
      code,
      faults.status(code),
    ]),
  ),
  'the connection closed': (req) => req.socket.destroy() !== undefined,
  'a redirect that is not followed': faults.status(307, { location: 'https://cdn.test/signed' }),
  '200 and no bytes': faults.status(200),
  '200 and a page': faults.status(200, {
    'content-type': 'text/html; charset=utf-8',
    ...length(133),
  }),
}

for (const [name, way] of Object.entries(ways)) {
  t.test(`HEAD of a blob: ${name}`, async (t) => {
    const { cache, digest, upstream, clock, mine } = await startPair(t)
    const cold = addBlob(mine, Buffer.from(`cold ${name}`))
    upstream.fail(faults.on(/^HEAD/, way))
    t.match(await cache.blobSize(app, cold), { size: `cold ${name}`.length })
    t.equal(await hashAll(await cache.blob(other, digest)), digest, 'a layer of two repositories')
    const before = upstream.count(/^HEAD/)
    t.equal(before, 1, 'remembered')
    clock.time += 10 * minute
    await cache.blobSize(other, cold)
    t.equal(upstream.count(/^HEAD/), before + 1, 'for a while')
  })
}
