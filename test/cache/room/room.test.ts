import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { openIndex, type Index } from '../../../src/cache/index/content-index.ts'
import { createRemovals } from '../../../src/cache/room/removals.ts'
import { createRoom, type RoomOptions } from '../../../src/cache/room/room.ts'
import { createStorageProblems } from '../../../src/cache/storage-problems.ts'
import { openStore } from '../../../src/cache/store.ts'
import type { SampleContent } from '../../../src/demo/sample-image.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import {
  addBlob,
  app,
  minute,
  readAll,
  startSite,
  storedIn,
  until,
  type SiteOptions,
  untilNothingTemporary,
} from '../../helpers/cache.ts'
import { addImage, emptyContent, layerOf, partsIn, pull } from '../../helpers/images.ts'
import * as faults from '../../helpers/upstream.ts'

const mebibyte = 2 ** 20

/** Images `0`, `1`, ... with a layer each of `bytes`, and one that all share. */
function imagesOf(count: number, bytes: number): SampleContent {
  const content = emptyContent()
  const base = layerOf('base', 500_000)
  for (let number = 0; number < count; number += 1) {
    addImage(content, `${number}`, [base, layerOf(`${number}`, bytes)])
  }
  return content
}

/** What the files take, whatever the index says. */
function storedBytes(dir: string): number {
  return readdirSync(join(dir, 'blobs'), { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .reduce(
      (sum, file) =>
        sum + (statSync(join(file.parentPath, file.name), { throwIfNoEntry: false })?.size ?? 0),
      0,
    )
}

async function start(t: Test, content: SampleContent, options: SiteOptions = {}) {
  const site = await startSite(t, { image: content, ...options })
  const { cache, clock } = site
  const { inventory } = cache
  /** Pulls it, a minute after the one before, and waits until all that is kept is stored. */
  const take = async (tag: string) => {
    clock.time += minute
    await pull(cache, app, tag)
    await until(() => site.counts.fills === 0)
    const parts = partsIn(content, content.tags.get(tag) ?? digestOf(''))
    const isStored = () => {
      const { rows } = inventory.blobs({ limit: 1000 })
      const stored = new Set(rows.map(({ digest }) => digest))
      return parts.every((digest) => stored.has(digest))
    }
    if (site.uncached.length === 0) await until(isStored, `storing ${tag}`)
  }
  return {
    ...site,
    inventory,
    take,
    tags: () => inventory.images().rows.map(({ reference }) => reference),
  }
}

t.test('the images that were not pulled for longest go, and what others share stays', async (t) => {
  const content = imagesOf(5, 1_000_000)
  const { take, tags, evictions, dir, cache, site, inventory } = await start(t, content, {
    maxBytes: 3.6 * mebibyte,
  })
  for (const tag of ['0', '1', '2', '0', '3']) await take(tag)
  t.same(tags(), ['0', '2', '3'], '1 went: 0 has been pulled since')
  t.equal(evictions.images, 1)
  t.ok(evictions.bytes > 1_000_000 && evictions.bytes < 1_010_000, 'without what is shared')
  await take('4')
  t.same(tags(), ['0', '3', '4'])
  t.equal(storedIn(dir).length, inventory.holding().entries)
  t.equal(storedBytes(dir), inventory.holding().bytes)
  site.offline = true
  for (const tag of ['0', '3', '4']) await pull(cache, app, tag)
})

t.test('many at once: never above the cap, and every pull is right', async (t) => {
  const content = imagesOf(16, 700_000)
  const site = await start(t, content, { maxBytes: 4 * mebibyte })
  const { cache, dir, clock, counts, evictions, inventory, uncached } = site
  let most = 0
  const watch = setInterval(() => (most = Math.max(most, storedBytes(dir))), 5)
  t.teardown(() => clearInterval(watch))
  let number = 0
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      while (number < 120) {
        number += 1
        clock.time += 1000
        // Some are wanted more often than others.
        await pull(cache, app, `${(number * 7) % (number % 3 === 0 ? 16 : 6)}`)
      }
    }),
  )
  await until(() => counts.fills === 0)
  t.ok(evictions.images > 10, `${evictions.images} images went`)
  t.ok(most <= 4 * mebibyte, `${most} bytes at most`)
  await until(() => storedIn(dir).length === inventory.holding().entries, 'storing the last ones')
  t.equal(storedBytes(dir), inventory.holding().bytes)
  t.comment(`${uncached.length} not kept`)
  for (const { reference, missing } of inventory.images().rows) {
    if (missing === 0) await pull(cache, app, reference)
  }
})

t.test('what is larger than the cache is passed on, and nothing goes for it', async (t) => {
  const content = imagesOf(2, 500_000)
  const large = addBlob(content, layerOf('large', 3 * mebibyte))
  const site = await start(t, content, { maxBytes: 2 * mebibyte })
  const { cache, take, tags, uncached, lines, counts, dir } = site
  await take('0')
  for (let round = 0; round < 2; round += 1) {
    t.equal(digestOf(await readAll(await cache.blob(app, large))), large)
    await until(() => counts.fills === 0)
  }
  t.same(uncached, ['too_large', 'too_large'])
  t.same(tags(), ['0'])
  await untilNothingTemporary(dir)
  const told = lines.filter(({ msg }) => /no room in the cache/.test(String(msg)))
  t.match(told, [{ cause: 'too_large', bytes: 3 * mebibyte }], 'once a minute')
  t.equal(told.length, 1)
})

t.test('pins stay, and it is told where they leave no room', async (t) => {
  const content = imagesOf(3, 1_000_000)
  const site = await start(t, content, { maxBytes: 2.4 * mebibyte })
  const { cache, inventory, take, tags, uncached, open } = site
  await take('0')
  inventory.pin({ ...app, reference: '0' })
  await take('1')
  await take('2')
  t.same(tags(), ['0', '2'])
  inventory.pin({ ...app, reference: '2' })
  t.same(uncached, [])
  t.same(await cache.problems(), [])
  await pull(cache, app, '1')
  t.ok(uncached.length > 0)
  t.same(inventory.images({ limit: 9 }).rows.filter(({ missing }) => missing === 0).length, 2)
  await cache.close()
  const again = open({ maxBytes: mebibyte })
  t.match(await again.problems(), [/^cache.maxBytes is less than what is pinned \(2.4 MiB\).*3MiB/])
})

t.test(
  'what is about a pinned image stays with it, and goes when it is not any more',
  async (t) => {
    const content = imagesOf(3, 1_000_000)
    const zero = content.tags.get('0') ?? digestOf('')
    const signature = addImage(content, 'signature', [layerOf('sig', 1000)], {
      tags: [],
      subject: zero,
    })
    const site = await start(t, content, { maxBytes: 2.4 * mebibyte })
    const { cache, inventory, clock, take, tags } = site
    await pull(cache, app, signature)
    await take('0')
    clock.time += minute
    inventory.pin({ ...app, reference: '0' })
    await take('1')
    await take('2')
    t.same(tags(), ['0', '2', signature])
    inventory.unpin({ ...app, reference: '0' })
    await take('1')
    t.same(tags(), ['1', '2'])
  },
)

t.test('what is being read stays', async (t) => {
  const content = imagesOf(3, 1_000_000)
  const { cache, take, tags } = await start(t, content, { maxBytes: 2.9 * mebibyte })
  await take('0')
  await take('1')
  const layer = digestOf(layerOf('0', 1_000_000))
  const reading = await cache.blob(app, layer)
  await take('2')
  t.same(tags(), ['0', '2'])
  t.equal(digestOf(await readAll(reading)), layer)
})

t.test('minFree: images go when others fill the disk', async (t) => {
  const content = imagesOf(3, 1_000_000)
  // More than any disk has: there is always too little left.
  const site = await start(t, content, { minFree: 2 ** 60 })
  await pull(site.cache, app, '0')
  await until(() => site.counts.fills === 0)
  t.ok(site.uncached.includes('no_room'))
  t.same(storedIn(site.dir), [])
  const open = site.open({ minFree: 0 })
  await pull(open, app, '1')
  await until(() => open.inventory.holding().entries === 4)
  await open.close()
  const full = site.open({ minFree: 2 ** 60 })
  await until(() => full.inventory.holding().entries === 0, 'the images to go')
  t.same(storedIn(site.dir), [])
})

t.test('a length that nobody says is that of the manifest', async (t) => {
  const content = imagesOf(2, 1_000_000)
  const faulty = [faults.on(/GET .*blobs/, faults.chunked())]
  const site = await start(t, content, { maxBytes: 1.7 * mebibyte, faults: faulty })
  const { take, tags, dir } = site
  await take('0')
  await take('1')
  t.same(tags(), ['1'])
  t.ok(storedBytes(dir) <= 1.7 * mebibyte)
})

/** A room beside an index alone: nothing is on a disk, and all that is there may go. */
function roomBeside(index: () => Index, options: Partial<RoomOptions>) {
  const log = pino({ level: 'silent' })
  return createRoom({
    index,
    removals: createRemovals({
      store: { takeOut: () => async () => undefined },
      index,
      isBusy: () => false,
      isArriving: () => false,
      onGone: () => undefined,
    }),
    limits: { maxBytes: 100, minFree: 0 },
    freeBytes: () => Infinity,
    flush: () => undefined,
    storageProblems: createStorageProblems(log, () => undefined),
    log,
    metrics: { evicted: () => undefined, uncached: () => undefined },
    ...options,
  })
}

t.test('while the index lacks what the files say, nothing goes', async (t) => {
  const dir = t.testdir()
  openStore(dir).close()
  const index = openIndex(dir)
  t.teardown(() => index.close())
  const digest = digestOf('x')
  index.addContent(digest, { mediaType: 'a/b', size: 100, mtime: 1 })
  let lacksFacts = true
  const now = () => ({ ...index, lacksFacts: () => lacksFacts })
  const uncached: string[] = []
  const room = roomBeside(now, {
    limits: { maxBytes: 120, minFree: 0 },
    metrics: { evicted: () => undefined, uncached: (cause) => void uncached.push(cause) },
  })
  t.ok(await room.reserve(10), 'what fits is kept')
  t.equal(await room.reserve(50), undefined)
  t.same(uncached, ['no_index'])
  t.equal(index.holding().entries, 1)
  lacksFacts = false
  t.ok(await room.reserve(50))
  t.equal(index.holding().entries, 0)
})

t.test(
  'disk and index are looked at now and then where there is plenty, always where not',
  async (t) => {
    const dir = t.testdir()
    openStore(dir).close()
    const index = openIndex(dir)
    t.teardown(() => index.close())
    let looks = 0
    let free = 1000
    const room = roomBeside(() => index, {
      limits: { maxBytes: 10_000, minFree: 100 },
      freeBytes() {
        looks += 1
        return free
      },
    })
    // At once: what is plenty is so for a moment.
    const granted = Array.from({ length: 10 }, () => room.reserve(10))
    t.equal(looks, 1)
    for (const one of granted) t.ok(await one)
    free = 300
    t.equal(await room.reserve(450), undefined, 'more than half of what was left')
    t.ok(await room.reserve(50))
    free = 200
    t.equal(await room.reserve(50), undefined, 'little is left')
  },
)

t.test('an index that cannot be read keeps nothing from being stored', async (t) => {
  const dir = t.testdir()
  openStore(dir).close()
  const index = openIndex(dir)
  index.close()
  const noted: string[] = []
  const log = pino({ level: 'silent' })
  const room = roomBeside(() => index, {
    storageProblems: createStorageProblems(log, (cause) => void noted.push(cause)),
  })
  t.ok(await room.reserve(10))
  t.equal(await room.reserve(200), undefined)
  t.same(room.problems(), [])
  t.doesNotThrow(room.trim)
  t.ok(noted.length > 0)
})

t.test('what the file system does not let go stays, and others go in its place', async (t) => {
  const content = imagesOf(3, 1_000_000)
  const site = await start(t, content, { maxBytes: 2.4 * mebibyte })
  const { take, tags, dir, cache, uncached } = site
  await take('0')
  await take('1')
  const layer = digestOf(layerOf('0', 1_000_000))
  const folder = join(dir, 'blobs/sha256', layer.slice(7, 9))
  rmSync(folder, { recursive: true })
  // Nobody can rename what is in it.
  writeFileSync(folder, '')
  await take('2')
  t.same(uncached, [])
  t.same(tags(), ['0', '2'])
  t.match(await cache.problems(), [/^making room in the cache failed: ENOTDIR/])
})
