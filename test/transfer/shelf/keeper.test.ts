// What a gateway does for the images that its site must hold.
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { uncounted } from '../../../src/cache/context.ts'
import { openCache } from '../../../src/cache/open-cache.ts'
import { buildSampleImage, type SampleContent } from '../../../src/demo/sample-image.ts'
import type { ShelfEntry } from '../../../src/config/shelf/schema.ts'
import { createShelfKeeper } from '../../../src/transfer/shelf/keeper.ts'
import { readShelf, shelfFile } from '../../../src/transfer/shelf/ledger.ts'
import { startUpstreams } from '../../helpers/ask.ts'
import { until } from '../../helpers/cache.ts'
import { recordingLog } from '../../helpers/listener.ts'
import { on, startUpstream, status } from '../../helpers/upstream.ts'
import { startLink } from './link.ts'

const ignore = () => undefined
const naming = { config: { upstreams: { up: {} } } }

const entry = (image: string, more: Partial<ShelfEntry> = {}): ShelfEntry => ({
  image,
  platforms: ['all'],
  referrers: true,
  jitter: 0,
  ...more,
})

const seeds = async (count: number, layerBytes = 20_000) =>
  Promise.all(
    Array.from({ length: count }, async (_, at) =>
      buildSampleImage({ layerBytes, seed: `shelf ${at}` }),
    ),
  )

interface Setup {
  repositories: Record<string, SampleContent>
  dir?: string
  offline?: boolean
  /** Between it and the upstream, bytes each 5 ms. */
  perTick?: number
}

async function setUp(t: Test, { repositories, ...options }: Setup) {
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), 'portcullis-shelf-'))
  if (options.dir === undefined) t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const upstream = await startUpstream(t, { repositories })
  const { perTick } = options
  const link = perTick === undefined ? undefined : await startLink(t, upstream.url, perTick)
  const client = startUpstreams(t, { url: link?.url ?? upstream.url })
  const { log, lines } = recordingLog()
  /** Bytes of blobs that have arrived. */
  const fetched = new Map<string, number>()
  const cache = openCache({
    dir,
    memoryBytes: 2 ** 20,
    openUpstream: (request, receiver) =>
      client.open(request, {
        ...receiver,
        data(chunk) {
          // Only of downloads: whoever confirms that a repository has a blob may see some of it.
          if (request.isWaitedFor === undefined) return receiver.data(chunk)
          const key = `${request.repository} ${request.resource.replace('blobs/', '')}`
          fetched.set(key, (fetched.get(key) ?? 0) + chunk.length)
          return receiver.data(chunk)
        },
      }),
    freshnessOf: () => ({ tagTtl: 0, staleIfError: 60_000, staleIfDenied: 0 }),
    offline: () => options.offline === true,
    report: ignore,
    log,
    metrics: uncounted,
    retryDelay: 10,
  })
  const keeper = createShelfKeeper({ cache, dir, log, retryAfter: 50 })
  const close = async () => {
    await keeper.stop()
    await cache.close()
  }
  let closing: Promise<void> | undefined
  const closeOnce = async () => (closing ??= close())
  t.teardown(closeOnce)
  const missing = () => keeper.rows().filter(({ missingSince }) => missingSince !== undefined)
  const images = () =>
    keeper
      .rows()
      .map(({ image }) => image)
      .sort()
  return { dir, upstream, link, cache, keeper, lines, fetched, missing, images, close: closeOnce }
}

t.test('images by name: pulled, pinned, told', async (t) => {
  const [app, other] = (await seeds(2)) as [SampleContent, SampleContent]
  const site = await setUp(t, { repositories: { app, other } })
  site.keeper.keep([entry('up/app:1.0'), entry('up/other'), entry('up/none:1')], naming)
  t.equal(site.missing().length, 3, 'until they are seen to be there')
  await until(() => site.missing().length === 1 && site.missing()[0]?.problem !== undefined)
  t.match(site.missing(), [{ image: 'up/none:1', problem: /no such (repository|manifest)/ }])
  t.match(site.keeper.rows()[0], { image: 'up/app:1.0', digest: app.tags.get('1.0') })
  t.same(
    site.cache.inventory.pins().map(({ repository, owner }) => [repository, owner]),
    [
      ['app', 'shelf'],
      ['none', 'shelf'],
      ['other', 'shelf'],
    ],
  )
  site.keeper.keep([entry('up/other')], naming)
  t.same(site.images(), ['up/other:latest'])
  t.equal(site.cache.inventory.pins().length, 1)
  await site.close()
  t.match(readShelf(site.dir), [{ entry: 'up/other', image: 'up/other:latest' }])
})

t.test('the newest of a pattern, over repositories of the catalog', async (t) => {
  const contents = await seeds(3)
  const tags = ['v1.2.0', 'v1.10.0', 'v1.9.0', 'v1.11.0-rc.1', 'v2.0.0', 'latest']
  for (const { tags: named } of contents) {
    const [digest] = named.values()
    named.clear()
    for (const tag of tags) if (digest !== undefined) named.set(tag, digest)
  }
  const [one, two, three] = contents as [SampleContent, SampleContent, SampleContent]
  const site = await setUp(t, { repositories: { 'app/one': one, 'app/two': two, lib: three } })
  site.keeper.keep([entry('up/app/*:v1.*', { newest: 2, platforms: ['linux/amd64'] })], naming)
  t.match(site.missing(), [{ image: 'up/app/*:v1.*' }])
  await until(() => site.missing().length === 0)
  const wanted = ['one', 'two'].flatMap((name) =>
    ['v1.10.0', 'v1.9.0'].map((tag) => `up/app/${name}:${tag}`),
  )
  t.same(site.images(), wanted.sort())
  t.equal(site.upstream.count(/lib/), 0)

  const [known] = site.keeper.rows()
  await site.close()
  const away = await setUp(t, { repositories: {}, dir: site.dir, offline: true })
  away.keeper.keep([entry('up/app/*:v1.*', { newest: 2, platforms: ['linux/amd64'] })], naming)
  t.same(away.missing(), [], 'a restart raises no alarm')
  await until(() => (away.keeper.rows()[0]?.checkedAt ?? 0) > (known?.checkedAt ?? 0))
  t.same(away.missing(), [])
  t.same(away.images(), wanted)
})

t.test(
  'an upstream without a catalog is named, and what its pattern means is missing',
  async (t) => {
    const [app] = (await seeds(1)) as [SampleContent]
    const site = await setUp(t, { repositories: { app } })
    site.upstream.fail(on(/_catalog/, status(404)))
    site.keeper.keep([entry('up/*:1.0')], naming)
    await until(() => site.missing()[0]?.problem !== undefined)
    t.match(site.missing(), [
      { image: 'up/*:1.0', problem: /has no catalog: name its repositories/ },
    ])
  },
)

t.test('a tag that has moved is what it was until all of the new image is here', async (t) => {
  const [app, next] = (await seeds(2)) as [SampleContent, SampleContent]
  const site = await setUp(t, { repositories: { app } })
  const place = { upstream: 'up', repository: 'app' }
  site.keeper.keep([entry('up/app:1.0')], naming)
  await until(() => site.missing().length === 0)
  const before = app.tags.get('1.0')
  const moved = next.tags.get('1.0')
  for (const [digest, manifest] of next.manifests) app.manifests.set(digest, manifest)
  for (const [digest, blob] of next.blobs) app.blobs.set(digest, blob)
  if (moved !== undefined) app.tags.set('1.0', moved)
  site.upstream.fail(on(/GET .*blobs/, status(403)))
  site.keeper.keep([entry('up/app:1.0')], naming)
  await until(() => site.missing().length === 1)
  const images = () => site.cache.inventory.images().rows
  t.match(
    images().find(({ reference }) => reference === '1.0'),
    { ...place, digest: before },
  )

  site.upstream.fail()
  site.keeper.keep([entry('up/app:1.0')], naming)
  await until(() => site.missing().length === 0)
  t.match(
    images().find(({ reference }) => reference === '1.0'),
    { ...place, digest: moved },
  )
})

t.test('a shelf without images writes nothing', async (t) => {
  const site = await setUp(t, { repositories: {} })
  site.keeper.keep([], naming)
  await site.close()
  t.notOk(readdirSync(site.dir).includes(shelfFile))
})

t.test('a schedule: nothing before its time', async (t) => {
  const [app] = (await seeds(1)) as [SampleContent]
  const site = await setUp(t, { repositories: { app } })
  const month = ((new Date().getMonth() + 6) % 12) + 1
  site.keeper.keep([entry('up/app:1.0', { schedule: `0 0 1 ${month} *` })], naming)
  await setTimeout(100)
  t.equal(site.upstream.requests.length, 0)
  t.equal(site.missing().length, 1)
})

t.test('what was taken out of the cache is missing again', async (t) => {
  const [app] = (await seeds(1)) as [SampleContent]
  const site = await setUp(t, { repositories: { app } })
  site.keeper.keep([entry('up/app:1.0')], naming)
  await until(() => site.missing().length === 0)
  const since = site.keeper.rows()[0]?.checkedAt ?? 0
  const [largest] = [...app.blobs].sort(([, a], [, b]) => b.length - a.length)
  await site.close()

  const again = await setUp(t, { repositories: {}, dir: site.dir, offline: true })
  const { inventory } = again.cache
  await inventory.remove({ upstream: 'up', repository: 'app', reference: '1.0' }, { force: true })
  again.keeper.keep([entry('up/app:1.0')], naming)
  await until(() => again.missing().length === 1)
  t.match(again.missing(), [{ problem: /offline/ }])
  t.ok((again.missing()[0]?.missingSince ?? 0) >= since)
  t.ok(largest)
})

t.test('a link that is up and down by turns: complete, and no byte twice', async (t) => {
  const contents = await seeds(10, 60_000)
  const names = contents.map((_, at) => `app-${at}`)
  const repositories = Object.fromEntries(names.map((name, at) => [name, contents[at]]))
  const site = await setUp(t, {
    repositories: repositories as Record<string, SampleContent>,
    perTick: 4000,
  })
  const seen: number[] = []
  site.keeper.keep(
    names.map((name) => entry(`up/${name}:1.0`)),
    naming,
  )
  for (let turn = 0; site.missing().length > 0 && turn < 100; turn += 1) {
    seen.push(site.missing().length)
    await setTimeout(300)
    site.link?.down()
    await setTimeout(300)
    site.link?.up()
  }
  t.equal(site.missing().length, 0)
  t.equal(seen[0], 10)
  t.ok(seen.length > 3, 'it took some turns')
  for (const [at, { blobs }] of contents.entries()) {
    for (const [digest, { length }] of blobs) {
      // What several images share comes for one of them.
      const bytes = site.fetched.get(`${names[at]} ${digest}`) ?? length
      t.equal(bytes, length, `${names[at]} ${digest}: ${bytes} of ${length} bytes`)
    }
  }
})
