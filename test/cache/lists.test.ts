// Lists: all pages of the upstream's own, or what is known while it cannot be asked.
import t from 'tap'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { app, minute, startSite } from '../helpers/cache.ts'
import * as faults from '../helpers/upstream.ts'

const list = /tags\/list/

/** Every request gets the page of its query, and the Link that `linkOf` makes of its number. */
function pages(linkOf: (page: number) => string, count = 3): faults.Fault {
  return faults.on(list, (req, res) => {
    const { searchParams } = new URL(req.url ?? '', 'http://upstream')
    const page = Number(searchParams.get('last') ?? '0')
    const body = JSON.stringify({ name: 'app', tags: [`t${page}`] })
    const link = page + 1 < count ? { link: linkOf(page + 1) } : {}
    return faults.status(200, link, body)(req, res)
  })
}

const links: Record<string, (page: number) => string> = {
  'relative, as registries send it': (page) => `</v2/app/tags/list?last=${page}&n=1>; rel="next"`,
  'absolute, to another host': (page) => `<https://evil.test/steal?last=${page}&n=1>; rel="next"`,
  'to another resource': (page) => `</v2/other/blobs/sha256:0?n=1&last=${page}>; rel=next`,
  'with more in the query': (page) => `<?token=secret&last=${page}&ns=docker.io>; rel="next"`,
  'after others': (page) => `</a>; rel="prev", </b?last=${page}>; title="x"; rel="next"`,
}

for (const [name, linkOf] of Object.entries(links)) {
  t.test(`tags over three pages, the Link ${name}`, async (t) => {
    const { cache, upstream } = await startSite(t, { faults: [pages(linkOf)] })
    t.same(await cache.tags(app), {
      entries: ['t0', 't1', 't2'],
      source: 'upstream',
      stale: false,
    })
    t.equal(upstream.count(/^GET \/v2\/app\/tags\/list\?/), 3)
    t.equal(upstream.requests.length, 3, 'nothing else was asked')
  })
}

for (const link of ['?last=1', '<?last=1>', '<?last=1>; rel="prev"', '<?last=1; rel="next"', '']) {
  t.test(`tags, a Link that is none to a next page: ${link}`, async (t) => {
    const { cache, upstream } = await startSite(t, { faults: [pages(() => link)] })
    t.same((await cache.tags(app)).entries, ['t0'])
    t.equal(upstream.requests.length, 1)
  })
}

t.test('tags, a Link that cannot be followed: an error, and no part of the list', async (t) => {
  const { cache } = await startSite(t, { faults: [pages(() => '<http://[>; rel="next"')] })
  await t.rejects(cache.tags(app), { code: 'UPSTREAM_FAILED', reason: 'bad_response' })
})

t.test("tags, the whole query of a Link is the upstream's own", async (t) => {
  const opaque = (page: number) =>
    `</v2/app/tags/list?next_page=gA%3D${page}&n=1&last=${page}>; rel="next"`
  const { cache, upstream } = await startSite(t, { faults: [pages(opaque)] })
  t.same((await cache.tags(app)).entries, ['t0', 't1', 't2'])
  t.equal(upstream.count(/tags\/list\?next_page=gA%3D1&n=1&last=1$/), 1)
})

t.test('tags that take too long', async (t) => {
  const site = await startSite(t, {
    faults: [
      (...args) => {
        site.clock.time += 10_000
        return pages((page) => `<?last=${page}>; rel="next"`, Infinity)(...args)
      },
    ],
  })
  await t.rejects(site.cache.tags(app), { code: 'UPSTREAM_FAILED', message: /too long/ })
  t.ok(site.upstream.requests.length < 10)
})

t.test('tags, a Link that goes in circles', async (t) => {
  const { cache, upstream } = await startSite(t, {
    faults: [pages((page) => `<?last=${page % 2}>; rel="next"`, Infinity)],
  })
  t.same((await cache.tags(app)).entries, ['t0', 't1'])
  t.equal(upstream.requests.length, 3)
})

t.test('tags without end', async (t) => {
  const { cache } = await startSite(t, {
    faults: [pages((page) => `<?last=${page}>; rel="next"`, Infinity)],
  })
  await t.rejects(cache.tags(app), { code: 'UPSTREAM_FAILED', reason: 'bad_response' })
})

t.test('tags in the order and the number that they have', async (t) => {
  const { cache, image, upstream, clock } = await startSite(t)
  const digest = image.tags.get('latest') as Digest
  for (let number = 0; number < 1500; number += 1) image.tags.set(`t${number}`, digest)
  image.tags.set('Z', digest).set('a', digest)
  const { entries } = await cache.tags(app)
  t.same(entries, [...image.tags.keys()].sort())
  t.equal(upstream.requests.length, 2, 'two pages')
  image.tags.set('new', digest)
  t.match(await cache.tags(app), { entries, source: 'memory', stale: false })
  clock.time += 5 * minute
  t.ok((await cache.tags(app)).entries.includes('new'))
})

const wrongLists: Record<string, faults.Fault> = {
  'a web page': faults.htmlPage(),
  'no object': faults.status(200, {}, '[]'),
  'tags that are no list': faults.status(200, {}, '{"tags":{}}'),
  'more tags than are sorted': faults.status(
    200,
    {},
    JSON.stringify({ tags: Array.from({ length: 100_001 }, (_, at) => `${at}`) }),
  ),
  'tags that are no texts': faults.status(200, {}, '{"tags":[1]}'),
  'a status of another kind': faults.status(416),
  'an encoded body': faults.gzipEncoded(),
}

for (const [name, fault] of Object.entries(wrongLists)) {
  t.test(`tags: ${name}`, async (t) => {
    const { cache, upstream } = await startSite(t, { faults: [faults.on(list, fault)] })
    await t.rejects(cache.tags(app), { code: 'UPSTREAM_FAILED', reason: 'bad_response' })
    upstream.fail(faults.on(list, faults.status(200, {}, '{"tags":null}')))
    t.same((await cache.tags(app)).entries, [])
  })
}

t.test('tags: an error in the middle', async (t) => {
  const { cache } = await startSite(t, {
    faults: [
      faults.on(/last=1/, faults.status(404)),
      pages((page) => `<?last=${page}>; rel="next"`),
    ],
  })
  await t.rejects(cache.tags(app), { code: 'UPSTREAM_FAILED', reason: 'bad_response' })
})

t.test('tags while the upstream cannot be asked: those that the cache holds', async (t) => {
  const { cache, upstream, site } = await startSite(t)
  upstream.fail(faults.status(503))
  await t.rejects(cache.tags(app), { code: 'UPSTREAM_FAILED' })
  upstream.fail()
  await cache.tag(app, 'latest')
  upstream.fail(faults.status(503))
  t.same(await cache.tags(app), { entries: ['latest'], source: 'disk', stale: true })
  upstream.fail()
  site.offline = true
  t.match(await cache.tags(app), { entries: ['latest'], stale: true })
})

/** Of the index that the sample's SBOM refers to. */
function subjectOf(image: SampleContent): Digest {
  return image.tags.get('latest') as Digest
}

const sbom = { mediaType: mediaTypes.ociManifest, artifactType: 'application/spdx+json' }

t.test('referrers by the API, kept for when the upstream cannot be asked', async (t) => {
  const { cache, upstream, image, clock, site, open } = await startSite(t)
  const subject = subjectOf(image)
  await cache.manifest(app, subject)
  const { entries, stale, source } = await cache.referrers(app, subject)
  t.match(entries, [{ ...sbom, annotations: { 'org.opencontainers.image.created': /./ } }])
  t.same([source, stale], ['upstream', false])
  t.match(await cache.referrers(app, subject), { entries, source: 'memory' })
  t.equal(upstream.count(/referrers/), 1)
  clock.time += 5 * minute
  upstream.fail(faults.status(503))
  t.match(await cache.referrers(app, subject), { entries, source: 'disk', stale: true })
  await cache.close()
  site.offline = true
  t.match(await open().referrers(app, subject), { entries, source: 'disk', stale: true })
})

const noLists: Record<string, faults.Fault> = {
  ...Object.fromEntries(
    [400, 401, 403, 404, 405, 406, 410, 415, 501].map((code) => [code, faults.status(code)]),
  ),
  'a redirect to a page': faults.status(303, { location: 'https://web.test/packages/app' }),
}
const brokenLists: Record<string, faults.Fault> = {
  500: faults.status(500),
  'a page': faults.htmlPage(),
  'an object': faults.status(200, {}, '{}'),
}

for (const [name, fault] of Object.entries({ ...noLists, ...brokenLists })) {
  t.test(`referrers by the fallback tag, where the API answers ${name}`, async (t) => {
    const { cache, upstream, image } = await startSite(t, {
      faults: [faults.on(/referrers/, fault)],
    })
    const subject = subjectOf(image)
    const none = cache.referrers(app, subject)
    if (name in noLists) t.same((await none).entries, [], 'no tag: none')
    else await t.rejects(none, { code: 'UPSTREAM_FAILED' }, 'nobody knows')
    const other = digestOf('another subject')
    const descriptor = { ...sbom, digest: digestOf('x'), size: 1 }
    addFallback(image, other, { manifests: [descriptor] })
    t.same((await cache.referrers(app, other)).entries, [descriptor])
    t.equal(upstream.count(new RegExp(`^GET .*manifests/sha256-${hexOf(other)}`)), 1)
  })
}

/** Puts a document under the fallback tag of `subject`. */
function addFallback(image: SampleContent, subject: Digest, document: unknown): void {
  const bytes = Buffer.from(JSON.stringify(document))
  image.manifests.set(digestOf(bytes), { mediaType: mediaTypes.ociIndex, bytes })
  const tag = subject.replace(':', '-').slice(0, subject.indexOf(':') + 65)
  image.tags.set(tag, digestOf(bytes))
}

t.test('a fallback tag that tells of something else', async (t) => {
  const { cache, image } = await startSite(t, {
    faults: [faults.on(/referrers/, faults.status(404))],
  })
  const subject = subjectOf(image)
  image.tags.set(`sha256-${hexOf(subject)}`, subject)
  t.same((await cache.referrers(app, subject)).entries, [], 'the subject itself')
  const [first, second, third] = ['1', '2', '3'].map((text) => digestOf(text)) as [
    Digest,
    Digest,
    Digest,
  ]
  addFallback(image, first, { schemaVersion: 2, config: {}, layers: [] })
  t.same((await cache.referrers(app, first)).entries, [], 'an image')
  const others = [...image.manifests].filter(([, { bytes }]) => bytes.includes('"subject"'))
  const manifests = others.map(([digest, { bytes }]) => ({ ...sbom, digest, size: bytes.length }))
  t.ok(manifests.length > 0)
  addFallback(image, second, { manifests })
  t.same((await cache.referrers(app, second)).entries, [], 'what refers to another subject')
  addFallback(image, third, { manifests: null })
  t.same((await cache.referrers(app, third)).entries, [])
  const long = digestOf('a', 'sha512')
  const descriptor = { ...sbom, digest: digestOf('x'), size: 1 }
  addFallback(image, long, { manifests: [descriptor] })
  t.same((await cache.referrers(app, long)).entries, [descriptor], 'its tag is cut')
})

t.test('one broken descriptor hides no others, and is reported', async (t) => {
  const good = { ...sbom, digest: digestOf('x'), size: 1 }
  const body = JSON.stringify({ manifests: [good, { ...sbom, digest: digestOf('y') }, null] })
  const { cache, image, reports } = await startSite(t, {
    faults: [faults.on(/referrers/, faults.status(200, {}, body))],
  })
  t.same((await cache.referrers(app, subjectOf(image))).entries, [good])
  t.match(reports, [['registry.test', { reason: 'bad_response' }]])
})

t.test('referrers: null, and over pages', async (t) => {
  const digests = [digestOf('1'), digestOf('2')]
  const page = (at: number) =>
    JSON.stringify({ manifests: [{ ...sbom, digest: digests[at], size: 1 }] })
  const { cache, upstream, image } = await startSite(t, {
    faults: [
      faults.on(/referrers.*token=a%20b/, faults.status(200, {}, page(1))),
      faults.on(/referrers/, faults.status(200, { link: '</?token=a%20b>; rel="next"' }, page(0))),
    ],
  })
  const { entries } = await cache.referrers(app, subjectOf(image))
  t.same(
    entries.map(({ digest }) => digest),
    digests,
  )
  upstream.fail(faults.on(/referrers/, faults.status(200, {}, '{"manifests":null}')))
  t.same((await cache.referrers(app, digestOf('none'))).entries, [])
})

const wrongReferrers: Record<string, unknown> = {
  'no list': { manifests: {} },
  'no descriptors': { manifests: [1] },
  'no digests': { manifests: [{ ...sbom, digest: 'sha256:1', size: 1 }] },
  'no sizes': { manifests: [{ ...sbom, digest: digestOf(''), size: -1 }] },
}

for (const [name, body] of Object.entries(wrongReferrers)) {
  t.test(`referrers that are ${name}`, async (t) => {
    const { cache, image } = await startSite(t, {
      faults: [faults.on(/referrers/, faults.status(200, {}, JSON.stringify(body)))],
    })
    await t.rejects(cache.referrers(app, subjectOf(image)), {
      code: 'UPSTREAM_FAILED',
      reason: 'bad_response',
    })
  })
}

t.test('referrers in the cache, where nobody ever asked for a list', async (t) => {
  const { cache, upstream, image, site, open } = await startSite(t)
  const subject = subjectOf(image)
  for (const digest of image.manifests.keys()) await cache.manifest(app, digest)
  await cache.close()
  site.offline = true
  t.match(await open().referrers(app, subject), { entries: [sbom], stale: true })
  t.equal(upstream.count(/referrers/), 0)
})

t.test('what nobody has is not kept as a list', async (t) => {
  const { cache, site, clock } = await startSite(t)
  const digest = digestOf('unknown')
  t.same((await cache.referrers(app, digest)).entries, [])
  clock.time += 5 * minute
  site.offline = true
  await t.rejects(cache.referrers(app, digest), { code: 'UNAVAILABLE' })
})

t.test('an image without referrers has none in an outage either', async (t) => {
  const { cache, site, image } = await startSite(t)
  const platform = [...image.manifests.keys()][0] as Digest
  await cache.manifest(app, platform)
  site.offline = true
  t.match(await cache.referrers(app, platform), { entries: [], stale: true })
})
