import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { uncounted } from '../../src/cache/context.ts'
import { openCache } from '../../src/cache/open-cache.ts'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { UsageError } from '../../src/errors.ts'
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts'
import { readImageList } from '../../src/transfer/image-list.ts'
import { parseImage } from '../../src/transfer/image-name.ts'
import { parsePlatforms, type Platforms } from '../../src/transfer/platforms.ts'
import { preloadImages } from '../../src/transfer/preload.ts'
import { documentOf, json, sample } from '../helpers/archives.ts'
import { startUpstreams } from '../helpers/ask.ts'
import { inspectCache } from '../helpers/cache-folder.ts'
import { recordingLog } from '../helpers/listener.ts'
import { flipByte, on, startUpstream, status } from '../helpers/upstream.ts'

const naming = { upstreams: ['up'], defaultUpstream: 'up' }
const ignore = () => undefined

/** An upstream, a client of it, and a way to preload from there into one cache folder. */
async function setUp(t: Test, repositories: Record<string, SampleContent>) {
  const dir = t.testdir({})
  const upstream = await startUpstream(t, { repositories })
  const client = startUpstreams(t, { url: upstream.url })
  const preload = async (
    names: string[],
    {
      platforms = 'all',
      jobs = 2,
      offline = false,
    }: { platforms?: Platforms; jobs?: number; offline?: boolean } = {},
  ) => {
    const cache = openCache({
      dir,
      minFree: 0,
      memoryBytes: 2 ** 20,
      openUpstream: client.open,
      freshnessOf: () => ({ tagTtl: 0, staleIfError: 60_000 }),
      offline: () => offline,
      report: ignore,
      log: recordingLog().log,
      metrics: uncounted,
      retryDelay: 10,
    })
    const bars = new Map<string, { total: number; done: number; ended: number }>()
    const onImage = (label: string, total: number) => {
      const bar = { total, done: 0, ended: 0 }
      bars.set(label, bar)
      return {
        advance: (bytes: number) => void (bar.done += bytes),
        end: () => void (bar.ended += 1),
      }
    }
    try {
      const images = names.map((name) => parseImage(name, naming))
      return { ...(await preloadImages(images, { cache, platforms, jobs, onImage })), bars }
    } finally {
      await cache.close()
    }
  }
  return { dir, upstream, preload }
}

const everything = ({ content }: Awaited<ReturnType<typeof sample>>) =>
  [...content.blobs.keys(), ...content.manifests.keys()].sort()

const sum = (content: SampleContent) =>
  [...content.blobs.values()].reduce((bytes, blob) => bytes + blob.length, 0)

t.test('all platforms and referrers; the second time costs no bytes', async (t) => {
  const image = await sample('preload')
  const { dir, upstream, preload } = await setUp(t, { app: image.content })

  const first = await preload(['app:1.0'])
  t.same(first.failed, [])
  t.match(first.preloaded, [
    {
      name: { upstream: 'up', repository: 'app', tag: '1.0' },
      digest: image.index,
      manifests: image.content.manifests.size,
      bytes: sum(image.content),
      fetched: sum(image.content),
      referrers: { length: 1 },
      isStale: false,
    },
  ])
  const bytes = sum(image.content)
  t.same(first.bars.get('up/app:1.0'), { total: bytes, done: bytes, ended: 1 })
  const { stored, temporary, tags } = inspectCache(dir)
  t.same(stored, everything(image))
  t.same(temporary, [])
  t.same(tags, { 'up/app:1.0': image.index })

  const asked = upstream.count(/blobs/)
  const again = await preload(['app:1.0'])
  t.match(again.preloaded, [{ digest: image.index, fetched: 0, isStale: false }])
  t.same(again.bars.get('up/app:1.0'), { total: bytes, done: bytes, ended: 1 })
  t.equal(upstream.count(/blobs/), asked)

  await upstream.close()
  const away = await preload(['app:1.0'])
  t.same(away.failed, [])
  t.match(away.preloaded, [{ digest: image.index, isStale: true }])

  const offline = await preload(['app:1.0', 'app:2.0'], { offline: true })
  t.match(offline.preloaded, [{ digest: image.index, fetched: 0 }])
  t.match(offline.failed, [{ name: { tag: '2.0' }, message: /the gateway is offline/ }])
})

t.test('chosen platforms, and what such an image lacks', async (t) => {
  const image = await sample('platforms')
  const { dir, preload } = await setUp(t, { app: image.content })
  const platforms = parsePlatforms('linux/amd64')
  t.match(await preload(['app:1.0'], { platforms }), { failed: [], preloaded: [{}] })
  const { stored } = inspectCache(dir)
  const { manifests } = documentOf(image.content, image.index) as {
    manifests: { digest: Digest }[]
  }
  const [amd64, arm64] = manifests.map(({ digest }) => digest)
  t.ok(stored.includes(String(amd64)))
  t.notOk(stored.includes(String(arm64)))

  const lacking = await preload(['app:1.0'], { platforms: parsePlatforms('linux/s390x') })
  t.match(lacking, {
    preloaded: [],
    failed: [{ message: 'has no linux/s390x; there are linux/amd64, linux/arm64' }],
  })
  const withVariant = await preload(['app:1.0'], { platforms: parsePlatforms('linux/arm64/v8') })
  t.same(withVariant.failed, [])
  t.same(inspectCache(dir).stored, everything(image))
})

t.test(
  'an attestation comes with the image that it is about, a signature by its tag',
  async (t) => {
    const image = await sample('attested')
    const { content } = image
    const index = documentOf(content, image.index) as {
      manifests: { digest: Digest; size: number; mediaType: string }[]
    }
    const attestations = index.manifests.map((entry, at) => {
      const manifest = {
        ...(documentOf(content, entry.digest) as object),
        annotations: { at: `${at}` },
      }
      return {
        ...entry,
        ...add(content, manifest),
        platform: { os: 'unknown', architecture: 'unknown' },
        annotations: { 'vnd.docker.reference.digest': entry.digest },
      }
    })
    const attested = add(content, { ...index, manifests: [...index.manifests, ...attestations] })
    const signature = add(content, {
      ...(documentOf(content, image.manifest.digest) as object),
      annotations: { signature: 'yes' },
    })
    content.tags.set('attested', attested.digest)
    content.tags.set(`sha256-${hexOf(attested.digest)}.sig`, signature.digest)

    const { dir, preload } = await setUp(t, { app: content })
    const { preloaded, failed } = await preload(['app:attested'], {
      platforms: parsePlatforms('linux/amd64'),
    })
    t.same(failed, [])
    t.same(preloaded[0]?.referrers, [signature.digest])
    const { stored } = inspectCache(dir)
    t.ok(stored.includes(String(attestations[0]?.digest)))
    t.notOk(stored.includes(String(attestations[1]?.digest)))
    t.ok(stored.includes(signature.digest))
  },
)

t.test('what fails is named with its reason, the rest is preloaded', async (t) => {
  const [good, bad] = [await sample('good'), await sample('bad')]
  const { dir, upstream, preload } = await setUp(t, { good: good.content, bad: bad.content })
  const layer = bad.manifest.layers.at(-1)?.digest as Digest
  upstream.fail(on(new RegExp(`^GET .*/blobs/${layer}`), flipByte(1000)))
  const { preloaded, failed } = await preload(['bad:1.0', 'good:1.0', 'good:nope'], { jobs: 1 })
  t.match(preloaded, [{ name: { repository: 'good' }, digest: good.index }])
  t.match(failed, [
    { name: { repository: 'bad' }, message: `${layer}: ` },
    { name: { repository: 'good', tag: 'nope' }, message: /./ },
  ])
  t.match(failed[0]?.message, 'does not hash to its digest')
  const { stored, temporary } = inspectCache(dir)
  t.same(
    everything(good).filter((digest) => !stored.includes(digest)),
    [],
  )
  t.notOk(stored.includes(layer))
  t.same(temporary, [])

  upstream.fail()
  const again = await preload(['bad:1.0'])
  t.same(again.failed, [])
  t.ok(Number(again.preloaded[0]?.fetched) < sum(bad.content), 'what came the first time stays')
  t.ok(inspectCache(dir).stored.includes(layer))
})

t.test('images that share layers fetch them once, by tag and by digest', async (t) => {
  const image = await sample('shared')
  const { upstream, preload } = await setUp(t, { app: image.content, copy: image.content })
  const names = ['app:1.0', 'app:latest', `app@${image.index}`]
  const { preloaded, failed } = await preload(names, { jobs: 3 })
  t.same(failed, [])
  t.equal(preloaded.length, 3)
  const fetched = preloaded.reduce((bytes, one) => bytes + one.fetched, 0)
  t.equal(fetched, sum(image.content))
  for (const digest of image.content.blobs.keys()) {
    t.equal(upstream.count(new RegExp(`^GET .*/blobs/${digest}`)), 1)
  }
})

t.test('a registry that lists neither tags nor referrers', async (t) => {
  const image = await sample('no lists')
  const { upstream, preload } = await setUp(t, { app: image.content })
  upstream.fail(on(/tags\/list/, status(401)), on(/referrers/, status(404)))
  const { preloaded, failed } = await preload(['app:1.0'])
  t.same(failed, [])
  t.same(preloaded[0]?.referrers, [])
})

t.test('lists: a line per image, comments, each image once, every problem', async (t) => {
  const folder = t.testdir({
    'images.txt': '# ours\n\napp:1 # the first\n up/team/app@x \r\nup/app:1\nnope.io/app\n',
    good: 'app:1\n\t# nothing\nother\n',
  })
  const names = await readImageList([join(folder, 'good'), 'up/app:1', 'third:2'], naming)
  t.same(
    names.map(({ repository, tag }) => [repository, tag]),
    [
      ['app', '1'],
      ['other', 'latest'],
      ['third', '2'],
    ],
  )
  const list = join(folder, 'images.txt')
  await t.rejects(
    readImageList([list, 'gone.io/app'], naming),
    new UsageError([
      {
        path: `${list}:4: up/team/app@x`,
        message: 'must end in @sha256: and 64 hex digits, or have no @',
      },
      { path: `${list}:6: nope.io/app`, message: 'nope.io is no upstream; there are up' },
      { path: 'gone.io/app', message: 'gone.io is no upstream; there are up' },
    ]),
  )
  await t.rejects(readImageList([folder], naming), /cannot be read as a list of images \(EISDIR\)/)
  writeFileSync(join(folder, 'empty'), '')
  t.same(await readImageList([join(folder, 'empty')], naming), [])
})

t.test('platforms that are none', async (t) => {
  t.equal(parsePlatforms('all'), 'all')
  t.same(parsePlatforms('linux/amd64, linux/arm/v7'), ['linux/amd64', 'linux/arm/v7'])
  for (const text of ['', 'linux', 'linux/amd64,', 'all,linux/amd64', 'Linux/amd64']) {
    t.throws(() => parsePlatforms(text), UsageError, text)
  }
})

/** Adds a manifest to the repository. */
function add(content: SampleContent, document: object): { digest: Digest; size: number } {
  const bytes = json(document)
  const { mediaType } = document as { mediaType: string }
  const digest = digestOf(bytes)
  content.manifests.set(digest, { mediaType, bytes })
  return { digest, size: bytes.length }
}

t.test('artifacts are taken along, and referrers that cannot be had hide no image', async (t) => {
  const image = await sample('preload')
  const { upstream, preload } = await setUp(t, { app: image.content })
  const subject = image.content.tags.get('1.0') as Digest
  const payload = Buffer.from('signature')
  image.content.blobs.set(digestOf(payload), payload)
  const mediaType = 'application/vnd.oci.artifact.manifest.v1+json'
  const artifact = json({
    mediaType,
    artifactType: 'application/x.sig',
    blobs: [{ mediaType: 'a/b', digest: digestOf(payload), size: payload.length }],
    subject: { mediaType: 'a/b', digest: subject, size: 1 },
  })
  image.content.manifests.set(digestOf(artifact), { mediaType, bytes: artifact })
  upstream.fail(on(/referrers/, status(500)))
  const doubted = await preload(['app:1.0'])
  t.same(doubted.failed, [])
  upstream.fail()
  const whole = await preload(['app:1.0'])
  t.same(whole.failed, [])
  t.ok(whole.preloaded[0]?.referrers.includes(digestOf(artifact)))
  t.same(whole.preloaded[0]?.doubts, [])
})
