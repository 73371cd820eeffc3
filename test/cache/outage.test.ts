// One bad answer is no outage: who is left alone after which failure, and what is served meanwhile.
import t, { type Test } from 'tap'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { GatewayError } from '../../src/errors.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import type { Flow, OpenUpstream } from '../../src/oci/origin.ts'
import { app, minute, other, startSite, type SiteOptions } from '../helpers/cache.ts'
import { createOrigin } from '../helpers/origin.ts'
import * as faults from '../helpers/upstream.ts'

const tagTtl = 5 * minute
const bad = /^\w+ \/v2\/other\//

/** Both repositories have been pulled once, and their tags have to be asked again. */
async function startPulled(t: Test, options: SiteOptions = {}) {
  const repositories = { app: tiny('app'), other: tiny('other') }
  const site = await startSite(t, { repositories, patience: minute, ...options })
  await site.cache.tag(app, 'latest')
  await site.cache.tag(other, 'latest')
  site.clock.time += tagTtl
  return { ...site, image: repositories.app }
}

function tiny(text: string): SampleContent {
  const content = { blobs: new Map(), manifests: new Map(), tags: new Map() }
  move(content, text)
  return content
}

/** Lets `latest` mean a manifest of its own. */
function move(content: SampleContent, text: string): Digest {
  const mediaType = mediaTypes.ociIndex
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests: [], text }))
  const digest = digestOf(bytes)
  content.manifests.set(digest, { mediaType, bytes })
  content.tags.set('latest', digest)
  return digest
}

for (const code of [400, 401, 403, 406, 410, 418, 451, 500, 501, 505]) {
  t.test(`${code} to one repository says nothing of the others`, async (t) => {
    const { cache, upstream, image } = await startPulled(t)
    upstream.fail(faults.on(bad, faults.status(code)))
    const outcome = await settled(async () => cache.tag(other, 'latest'))
    t.match(outcome, code === 401 || code === 403 ? { code: 'DENIED' } : { stale: true })
    await settled(async () => cache.tags(other))
    await settled(async () => cache.referrers(other, digestOf('x')))
    const digest = move(image, 'moved')
    const found = await cache.tag(app, 'latest')
    t.match(found, { content: { digest } })
    t.notOk(found.stale)
    upstream.fail()
    const healed = await cache.tag(other, 'latest')
    t.notOk(healed.stale, 'nor does it rest itself')
  })
}

for (const code of [429, 502, 503, 504]) {
  t.test(`${code} to one repository rests that one, to another one as well all`, async (t) => {
    const { cache, upstream, image, clock } = await startPulled(t)
    upstream.fail(faults.on(bad, faults.status(code)))
    t.match(await cache.tag(other, 'latest'), { stale: true })
    const before = upstream.count(bad)
    t.match(await cache.tag(other, 'latest'), { stale: true })
    t.equal(upstream.count(bad), before, 'it rests')
    const digest = move(image, 'moved')
    const found = await cache.tag(app, 'latest')
    t.match(found, { content: { digest } })
    t.notOk(found.stale)

    clock.time += tagTtl
    upstream.fail(faults.status(code))
    t.match(await cache.tag(other, 'latest'), { stale: true })
    t.match(await cache.tag(app, 'latest'), { stale: true })
    const all = upstream.requests.length
    await t.rejects(cache.referrers(app, digestOf('x')))
    t.equal(upstream.requests.length, all + 1, 'what nobody knows is asked all the same')
    t.match(await cache.tags(app), { stale: true })
    t.equal(upstream.requests.length, all + 1, 'the registry rests')
    upstream.fail()
    await cache.referrers(app, digestOf('y'))
    t.notOk((await cache.tag(app, 'latest')).stale, 'and its first answer ends that')
  })
}

t.test('a registry that nobody reaches rests at once', async (t) => {
  const door = createDoor('refused')
  const { cache, clock } = await startBehind(t, door)
  door.isShut = true
  t.match(await cache.tag(other, 'latest'), { stale: true })
  t.equal(door.knocks, 1)
  t.match(await cache.tag(app, 'latest'), { stale: true })
  t.equal(door.knocks, 1)
  door.isShut = false
  clock.time += 15_000
  t.notOk((await cache.tag(app, 'latest')).stale)
})

t.test(
  'the circuit: open for what concerns the whole upstream, with the time of the next try',
  async (t) => {
    const door = createDoor('refused')
    const { cache, clock, upstream } = await startBehind(t, door)
    const circuit = () => cache.circuit('registry.test')
    t.same(circuit(), { state: 'closed' })
    upstream.fail(faults.on(bad, faults.status(500)))
    await cache.tag(other, 'latest')
    upstream.fail(faults.on(bad, faults.status(503)))
    await cache.tag(other, 'latest')
    t.same(circuit(), { state: 'closed' }, 'one repository is not all')

    door.isShut = true
    await cache.tag(app, 'latest')
    const since = clock.time
    const told = { reason: 'refused', since, nextProbe: since + 15_000 }
    t.same(circuit(), { state: 'open', ...told })
    clock.time += 15_000
    t.same(circuit(), { state: 'half-open', ...told })
    upstream.fail()
    door.isShut = false
    await cache.tag(app, 'latest')
    t.same(circuit(), { state: 'closed' })
  },
)

t.test('a failure during a rest does not make it longer', async (t) => {
  const { cache, upstream, clock, image } = await startPulled(t)
  upstream.fail(faults.status(503))
  await cache.tag(other, 'latest')
  await cache.tag(app, 'latest')
  upstream.fail(faults.on(bad, faults.status(503)))
  clock.time += 14_000
  // Nothing stale to give: asked, and failing again.
  await t.rejects(async () => cache.tag(other, 'unknown'), { code: 'UPSTREAM_FAILED' })
  clock.time += 1000
  const digest = move(image, 'moved')
  t.match(await cache.tag(app, 'latest'), { content: { digest } })
})

t.test('a clock that was set back lets nobody rest for ever', async (t) => {
  const { cache, upstream, clock, image } = await startPulled(t)
  upstream.fail(faults.status(503))
  await cache.tag(app, 'latest')
  upstream.fail()
  clock.time -= 60 * minute
  const digest = move(image, 'moved')
  t.match(await cache.tag(app, 'latest'), { content: { digest } })
})

t.test('credentials that are refused: stale for as long as that may be', async (t) => {
  const door = createDoor('credentials_refused')
  const freshness = { tagTtl, staleIfError: 60 * minute, staleIfDenied: 60 * minute }
  const { cache, clock } = await startBehind(t, door, { freshnessOf: () => freshness })
  door.isShut = true
  t.match(await cache.tag(app, 'latest'), { stale: true })
  t.match(await cache.tag(app, 'latest'), { stale: true })
  t.match(await cache.tags(app), { stale: true })
  freshness.staleIfDenied = 0
  const refused = { code: 'DENIED' }
  await t.rejects(async () => cache.tag(app, 'latest'), refused)
  await t.rejects(cache.tags(app), refused)
  freshness.staleIfDenied = 120 * minute
  clock.time += 90 * minute
  t.match(await cache.tag(app, 'latest'), { stale: true })
  clock.time += 90 * minute
  await t.rejects(async () => cache.tag(app, 'latest'), refused)
})

const notOfRegistries: Record<string, faults.Fault> = {
  'text of an ingress': faults.status(
    404,
    { 'content-type': 'text/plain' },
    '404 page not found\n',
  ),
  'a page': faults.status(
    404,
    { 'content-type': 'text/html' },
    '<html>default backend - 404</html>',
  ),
  nothing: faults.status(404),
  'JSON of somebody else': faults.status(404, {}, '{"errors":["not found"],"message":"no route"}'),
  'JSON null': faults.status(404, {}, 'null'),
}

for (const [name, fault] of Object.entries(notOfRegistries)) {
  t.test(`a 404 with ${name} takes no tag away`, async (t) => {
    const { cache, upstream, reports, image } = await startPulled(t)
    upstream.fail(fault)
    t.match(await cache.tag(app, 'latest'), { stale: true })
    t.match(await cache.tag(app, 'latest'), { stale: true })
    t.match(await cache.tags(app), { entries: ['latest'], stale: true })
    t.equal(reports.length, 3)
    t.match(reports[0], ['registry.test', { reason: 'bad_response', message: /404/ }])
    await t.rejects(async () => cache.tag(app, 'unknown'), { code: 'MANIFEST_UNKNOWN' })
    upstream.fail()
    const digest = move(image, 'moved')
    t.match(await cache.tag(app, 'latest'), { content: { digest } })
  })
}

const ofRegistries: Record<string, faults.Fault> = {
  'the error body': faults.status(
    404,
    {},
    '{"errors":[{"code":"MANIFEST_UNKNOWN","message":"x"}]}',
  ),
  'the version header': faults.status(404, { 'docker-distribution-api-version': 'registry/2.0' }),
}

for (const [name, fault] of Object.entries(ofRegistries)) {
  t.test(`a 404 with ${name} of a registry does`, async (t) => {
    const { cache, upstream, site } = await startPulled(t)
    upstream.fail(fault)
    await t.rejects(async () => cache.tag(app, 'latest'), { code: 'MANIFEST_UNKNOWN' })
    site.offline = true
    await t.rejects(async () => cache.tag(app, 'latest'), { code: 'UNAVAILABLE' })
  })
}

t.test('an answer of no use behind a stale one is reported', async (t) => {
  const { cache, upstream, reports } = await startPulled(t)
  upstream.fail(faults.on(/GET/, faults.htmlPage()), faults.on(/HEAD/, faults.status(405)))
  for (let round = 0; round < 3; round += 1) {
    t.match(await cache.tag(app, 'latest'), { stale: true })
  }
  t.equal(reports.length, 3)
  t.match(reports[0], ['registry.test', { reason: /bad_response|digest_mismatch/ }])
})

/** Stands before the upstream; nobody comes through while it is shut. */
function createDoor(reason: string) {
  const code = reason === 'credentials_refused' ? 'DENIED' : 'UPSTREAM_FAILED'
  const door = { isShut: false, knocks: 0, url: '', open }
  function open(...[request, receiver]: Parameters<OpenUpstream>): Flow {
    if (!door.isShut) return createOrigin({ 'registry.test': door.url })(request, receiver)
    door.knocks += 1
    queueMicrotask(() => receiver.fail(new GatewayError(code, 'no way', { reason })))
    return { pause() {}, resume() {}, abort() {} }
  }
  return door
}

/** As `startPulled`, with the door open. */
async function startBehind(
  t: Test,
  door: ReturnType<typeof createDoor>,
  options: SiteOptions = {},
) {
  const repositories = { app: tiny('app'), other: tiny('other') }
  const site = await startSite(t, { repositories, openUpstream: door.open, ...options })
  door.url = site.upstream.url
  await site.cache.tag(app, 'latest')
  await site.cache.tag(other, 'latest')
  site.clock.time += tagTtl
  return site
}

async function settled<T>(work: () => Promise<T> | T): Promise<unknown> {
  try {
    return await work()
  } catch (error) {
    return error
  }
}
