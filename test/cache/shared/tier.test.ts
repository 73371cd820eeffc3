// The tier that replicas share, with a real object store; with `TEST_STORE=ceph` with that one.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { KeptCache } from '../../../src/cache/open-cache.ts'
import { contentKey, tagKey } from '../../../src/cache/shared/layout.ts'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { app, largest, minute, readAll, startSite, until } from '../../helpers/cache.ts'
import { until as eventually } from '../../e2e/lab/program.ts'
import {
  startObjectStore,
  storeKind,
  withObjectStore,
  type TestObjectStore,
} from '../../helpers/object-store.ts'

type Site = Awaited<ReturnType<typeof startSite>>
type Replica = KeptCache

const options = withObjectStore()
t.setTimeout((storeKind === 'ceph' ? 20 : 5) * minute)
const MiB = 2 ** 20
const latest = tagKey(app, 'latest')

/** A store, an upstream, and a first replica in front of both. */
async function startRegion(t: Test, layerBytes = 5 * MiB + 12_345) {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const store = await startObjectStore(t, join(folder, 'store'))
  const image = await buildSampleImage({ layerBytes })
  const site = await startSite(t, { image })
  let count = 0
  const replica = async (changes = {}): Promise<Replica> => {
    count += 1
    const dir = join(folder, `replica-${count}`)
    return site.open({ dir, remote: await store.open(), ...changes })
  }
  return { folder, store, site, image, replica, first: await replica() }
}

/** Pulls as an engine does; throws where a byte is wrong. All that it got. */
async function pull(cache: Replica): Promise<Set<string>> {
  const manifests = [(await cache.tag(app, 'latest')).content]
  const got = new Set<string>()
  for (const manifest of manifests) {
    if (digestOf(manifest.bytes) !== manifest.digest) throw new Error('a wrong manifest')
    got.add(manifest.digest)
    const document = JSON.parse(manifest.bytes.toString()) as {
      manifests?: { digest: Digest }[]
      config?: { digest: Digest }
      layers?: { digest: Digest }[]
    }
    for (const { digest } of document.manifests ?? []) {
      manifests.push((await cache.manifest(app, digest)).content)
    }
    for (const { digest } of [document.config ?? [], document.layers ?? []].flat()) {
      const body = await readAll(await cache.blob(app, digest))
      if (digestOf(body) !== digest) throw new Error(`a wrong blob ${digest}`)
      got.add(digest)
    }
  }
  return got
}

async function written(cache: Replica): Promise<void> {
  await until(() => cache.sharedWaiting?.() === 0, 'everything is written')
}

/** Makes the circuits try again. */
function later({ clock }: Site): void {
  clock.time += 16_000
}

/** All of it lies in the store, and is right. */
async function hasAll(
  t: Test,
  { objects }: TestObjectStore,
  digests: ReadonlySet<string>,
): Promise<void> {
  t.ok(digests.size > 3)
  for (const digest of digests) {
    const bytes = await objects.read(contentKey(digest as Digest))
    t.ok(bytes && digestOf(bytes) === digest, `${digest} is in the store`)
  }
}

async function isThere({ objects }: TestObjectStore, key: string): Promise<boolean> {
  return (await objects.read(key)) !== undefined
}

t.test('a replica with an empty disk and no upstream serves everything', options, async (t) => {
  const { store, site, image, replica, first } = await startRegion(t)
  const got = await pull(first)
  await written(first)
  await hasAll(t, store, got)
  const asked = site.upstream.requests.length
  site.site.offline = true
  const second = await replica()
  t.same(await pull(second), got)
  t.equal((await second.blobSize(app, largest(image)[0])).size, largest(image)[1].length)
  t.equal(site.upstream.requests.length, asked, 'the upstream was not asked')

  site.site.offline = false
  await site.upstream.close()
  const third = await replica()
  site.clock.time += 10 * minute
  t.same(await pull(third), got, 'also a tag that is overdue')
})

t.test(
  'what is there already is neither asked for upstream nor written again',
  options,
  async (t) => {
    const { site, replica, first } = await startRegion(t)
    await pull(first)
    await written(first)
    const asked = site.upstream.requests.length
    const second = await replica()
    await pull(second)
    await written(second)
    t.equal(site.upstream.requests.length, asked, 'a fresh tag costs no request upstream')
  },
)

t.test('referrers are known to a replica that cannot ask', options, async (t) => {
  const { site, image, first, replica } = await startRegion(t)
  const [subject] = image.tags.values()
  if (subject === undefined) throw new Error('the image has no tag')
  await pull(first)
  const { entries } = await first.referrers(app, subject)
  t.ok(entries.length > 0)
  await written(first)
  site.site.offline = true
  t.same((await (await replica()).referrers(app, subject)).entries, entries)
})

const aside = storeKind === 'versity' ? options : { skip: 'not known how to make it refuse one' }

t.test('an object that the store does not take holds nothing else up', aside, async (t) => {
  const { store, site, first } = await startRegion(t)
  mkdirSync(join(store.folder, 'repositories/registry.test/app/_tags/latest/taken'), {
    recursive: true,
  })
  const got = await pull(first)
  await until(() => {
    later(site)
    return first.sharedWaiting?.() === 1
  }, 'all else is written')
  await hasAll(t, store, got)
})

t.test('a tag object that is none is written anew', options, async (t) => {
  const { store, site, first, replica } = await startRegion(t)
  await pull(first)
  await written(first)
  await store.objects.write(latest, 'null and void')
  site.clock.time += 10 * minute
  const second = await replica()
  await pull(second)
  await written(second)
  t.match((await store.objects.read(latest))?.toString(), /^\{/)
})

t.test('what was cached before there was a store is written to it', options, async (t) => {
  const { store, site } = await startRegion(t)
  const got = await pull(site.cache)
  await site.cache.close()
  const cache = site.open({ remote: await store.open() })
  await eventually('the tag is there', async () => isThere(store, latest))
  await written(cache)
  await hasAll(t, store, got)
})

t.test('the store is away: pulls go on, and the queue survives a restart', options, async (t) => {
  const { folder, store, site, first, replica } = await startRegion(t)
  store.way('cut')
  const got = await pull(first)
  t.match((await first.problems()).join(), /the store cannot be reached/)
  t.ok((first.sharedWaiting?.() ?? 0) > 0)
  await first.close()
  store.way('open')
  const again = await replica({ dir: join(folder, 'replica-1') })
  later(site)
  await written(again)
  await hasAll(t, store, got)
  t.same(await again.problems(), [])
})

t.test('the store answers 503 for a while', options, async (t) => {
  const { store, site, first, replica } = await startRegion(t)
  store.way('unavailable')
  const got = await pull(first)
  await pull(await replica())
  store.way('open')
  later(site)
  await written(first)
  await hasAll(t, store, got)
})

t.test(
  'a store that dies in the middle of a blob: the download goes on upstream',
  options,
  async (t) => {
    const { store, site, image, first, replica } = await startRegion(t, 12 * MiB)
    await pull(first)
    await written(first)
    const second = await replica()
    const [digest, bytes] = largest(image)
    await second.manifest(app, (await second.tag(app, 'latest')).content.digest)
    store.way(3 * MiB)
    const found = await second.blob(app, digest)
    const body = await readAll(found, 0, 64 * 1024, () => {
      void store.stop()
    })
    t.ok(body.equals(bytes))
    t.ok(site.upstream.count(new RegExp(`GET .*${digest}`)) >= 2, 'the rest came from there')
  },
)

t.test('a store that is slow is left for the upstream', options, async (t) => {
  const { store, image, first, replica } = await startRegion(t)
  await pull(first)
  await written(first)
  store.way(100 * 1024)
  const second = await replica()
  const body = await readAll(await second.blob(app, largest(image)[0]))
  t.ok(body.equals(largest(image)[1]))
  t.match((await second.problems()).join(), /takes too long/)
})

for (const { name, layerBytes, damage } of [
  { name: 'altered', layerBytes: 3 * MiB, damage: alter },
  { name: 'altered and small', layerBytes: 50_000, damage: alter },
  { name: 'cut off', layerBytes: 5 * MiB, damage: (bytes: Buffer) => bytes.subarray(0, 3 * MiB) },
]) {
  t.test(
    `an object that is ${name} is set aside, fetched again and replaced`,
    options,
    async (t) => {
      const { store, site, image, first, replica } = await startRegion(t, layerBytes)
      const got = await pull(first)
      await written(first)
      const [digest, bytes] = largest(image)
      const key = contentKey(digest)
      await store.objects.write(key, damage(Buffer.from(bytes)))
      const second = await replica()
      t.same(await pull(second), got, 'nobody notices')
      const aside = `quarantine/${digest.replace(':', '-')}-`
      await eventually(
        'it is set aside',
        async () => (await store.objects.keys(aside)).length === 1,
      )
      await eventually('it is written again', async () => isThere(store, key))
      await written(second)
      await hasAll(t, store, got)
      t.ok(site.requests.includes('read damaged'))
      t.equal((await readAll(await (await replica()).blob(app, digest))).length, bytes.length)
    },
  )
}

function alter(bytes: Buffer): Buffer {
  const at = Math.floor(bytes.length * 0.7)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes
}

t.test('a part of a blob comes from the store, too', options, async (t) => {
  const { store, site, image, first, replica } = await startRegion(t, 20 * MiB)
  await pull(first)
  await written(first)
  const [digest, bytes] = largest(image)
  store.way(2 * MiB)
  site.site.offline = true
  const { content } = await (await replica()).blob(app, digest)
  const buffer = Buffer.alloc(1000)
  if (content.kind === 'small') throw new Error('it is not small')
  const count = await content.read(buffer, 18 * MiB + 17, 18 * MiB + 1017)
  t.ok(buffer.subarray(0, count).equals(bytes.subarray(18 * MiB + 17, 18 * MiB + 17 + count)))
  content.close()
})

t.test('content above 64 MiB goes in parts', options, async (t) => {
  const { store, first, replica, site } = await startRegion(t, 70 * MiB)
  const got = await pull(first)
  await until(() => first.sharedWaiting?.() === 0)
  await hasAll(t, store, got)
  site.site.offline = true
  t.same(await pull(await replica()), got)
})

t.test('a bucket of a newer format is left alone', options, async (t) => {
  const { store, first, replica } = await startRegion(t)
  await pull(first)
  await written(first)
  await store.objects.write('format', '2\n')
  const second = await replica()
  await pull(second)
  t.match((await second.problems()).join(), /is of format 2, this version knows 1/)
  t.ok((second.sharedWaiting?.() ?? 0) > 0, 'nothing was written')
})

t.test('what is wrong with the store names the key to change', options, async (t) => {
  const { folder, store } = await startRegion(t)
  const reasonOf = async (changes: Parameters<TestObjectStore['open']>[0]) => {
    const remote = await store.open(changes)
    try {
      await remote.get('format', { signal: AbortSignal.timeout(5000) })
      return undefined
    } catch (error) {
      const { path, reason } = remote.explain(error)
      return `${path} ${reason}`
    } finally {
      remote.close()
    }
  }
  const file = join(folder, 'credentials')
  writeFileSync(file, '[edge]\naws_access_key_id = test-access\naws_secret_access_key = wrong\n')
  const at = 'cache.shared.s3'
  t.equal(await reasonOf({ bucket: 'another' }), `${at}.bucket no_bucket`)
  const credentials = (profile: string) => ({ credentials: { file, profile } })
  t.equal(await reasonOf(credentials('edge')), `${at}.credentials credentials`)
  t.equal(await reasonOf(credentials('other')), `${at}.credentials credentials`)
  writeFileSync(
    file,
    '[edge]\naws_access_key_id=test-access\naws_secret_access_key=test-secret-key\n',
  )
  t.equal(await reasonOf(credentials('edge')), undefined)
  t.equal(await reasonOf({ endpoint: 'http://127.0.0.1:1' }), `${at}.endpoint network`)
})
