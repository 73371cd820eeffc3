// Does the cache keep the right images, and what does it cost to choose which go?
// `node benchmarks/eviction.ts [hits [SCALE]|choice]`: 2,000 pulls over 1 GiB of images that share layers through 200 MiB, 8 at
// once, beside the best that can be had by knowing the future (Belady); then the choice among 1,000 to
// 1,000,000 contents. Some minutes, and 1 GiB of disk.
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { pino } from 'pino'
import { uncounted } from '../src/cache/context.ts'
import { openIndex } from '../src/cache/index/content-index.ts'
import { openCache } from '../src/cache/open-cache.ts'
import { createRemovals } from '../src/cache/room/removals.ts'
import { createRoom } from '../src/cache/room/room.ts'
import { openStore } from '../src/cache/store.ts'
import { createStorageProblems } from '../src/cache/storage-problems.ts'
import { digestOf, type Digest } from '../src/oci/digest.ts'
import { mediaTypes } from '../src/oci/media-type.ts'
import type { OpenUpstream } from '../src/oci/origin.ts'
import { fillInBulk } from './lab/bulk-index.ts'

const mebibyte = 2 ** 20
const place = { upstream: 'registry.test', repository: 'app' }
const log = pino({ level: 'silent' })

interface Layer {
  digest: Digest
  size: number
  name: string
}

interface Image {
  digest: Digest
  bytes: Buffer
  blobs: Layer[]
}

/** The same bytes for a name every time, so that nobody has to keep them. */
function bytesOf({ name, size }: Pick<Layer, 'name' | 'size'>): Buffer {
  return Buffer.alloc(size, createHash('sha256').update(name).digest())
}

function layer(name: string, size: number): Layer {
  return { name, size, digest: digestOf(bytesOf({ name, size })) }
}

/** Families of ten that share two layers; about 10 MiB an image. */
function makeImages(count: number, scale: number): Image[] {
  const unit = mebibyte * scale
  const bases = Array.from({ length: Math.ceil(count / 10) }, (_, family) => [
    layer(`base ${family}`, (16 + 2 * family) * unit),
    layer(`runtime ${family}`, 8 * unit),
  ])
  return Array.from({ length: count }, (_, number) => {
    const own = [layer(`app ${number}`, (2 + (number % 9)) * unit), layer(`config ${number}`, 2000)]
    const blobs = [...(bases[Math.floor(number / 10)] ?? []), ...own]
    const [config] = own.slice(-1)
    const described = ({ digest, size }: Layer) => ({ mediaType: 'a/b', digest, size })
    const document = {
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: described(config as Layer),
      layers: blobs.slice(0, -1).map(described),
    }
    const bytes = Buffer.from(JSON.stringify(document))
    return { digest: digestOf(bytes), bytes, blobs }
  })
}

/** The same numbers every time, from 0 to 1. */
function randomNumbers(): () => number {
  let state = 1
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

/** A few images are pulled often, most of them seldom: Zipf's law, in an order that has nothing to do with it. */
function makePulls(count: number, images: number): number[] {
  const random = randomNumbers()
  const weights = Array.from({ length: images }, (_, rank) => 1 / (rank + 1) ** 0.8)
  const sum = weights.reduce((all, one) => all + one, 0)
  return Array.from({ length: count }, () => {
    let left = random() * sum
    const rank = weights.findIndex((weight) => (left -= weight) <= 0)
    return (Math.max(0, rank) * 37) % images
  })
}

interface Ratio {
  requests: number
  bytes: number
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`

/** Of what a cache of so many bytes could have had: by blob, with the next use of each known. */
function belady(pulls: number[], images: Image[], capacity: number): Ratio {
  const sequence = pulls.flatMap((number) => images[number]?.blobs ?? [])
  const next: number[] = []
  const last = new Map<Digest, number>()
  for (let at = sequence.length - 1; at >= 0; at -= 1) {
    const { digest } = sequence[at] as Layer
    next[at] = last.get(digest) ?? Infinity
    last.set(digest, at)
  }
  const held = new Map<Digest, { size: number; next: number }>()
  let used = 0
  const hits = { requests: 0, bytes: 0 }
  const all = { requests: 0, bytes: 0 }
  for (const [at, { digest, size }] of sequence.entries()) {
    all.requests += 1
    all.bytes += size
    if (held.has(digest)) {
      hits.requests += 1
      hits.bytes += size
    } else used += size
    held.set(digest, { size, next: next[at] ?? Infinity })
    while (used > capacity) {
      const [farthest] = [...held].sort(([, one], [, other]) => other.next - one.next)
      if (farthest === undefined) break
      held.delete(farthest[0])
      used -= farthest[1].size
    }
  }
  return { requests: hits.requests / all.requests, bytes: hits.bytes / all.bytes }
}

async function hitRatio(scale: number): Promise<void> {
  const images = makeImages(100, scale)
  const total = new Map(
    images.flatMap(({ blobs }) => blobs.map((blob) => [blob.digest, blob.size])),
  )
  const sum = [...total.values()].reduce((all, one) => all + one, 0)
  const pulls = makePulls(2000, images.length)
  const capacity = 200 * mebibyte * scale
  const best = belady(pulls, images, capacity)
  const dir = mkdtempSync('/tmp/eviction-')
  const fetched = { requests: 0, bytes: 0 }
  const asked = { requests: 0, bytes: 0 }
  const counts = { evicted: 0, uncached: 0, most: 0, failed: 0 }
  let time = Date.now()
  const cache = openCache({
    dir,
    memoryBytes: 8 * mebibyte,
    maxBytes: capacity,
    minFree: 0,
    openUpstream: originOf(images, (bytes) => {
      fetched.requests += 1
      fetched.bytes += bytes
    }),
    freshnessOf: () => ({ tagTtl: 1e12, staleIfError: 1e12 }),
    offline: () => false,
    report: () => undefined,
    log,
    metrics: {
      ...uncounted,
      evicted: () => void (counts.evicted += 1),
      uncached: () => void (counts.uncached += 1),
    },
    now: () => time,
  })
  const buffer = () => Buffer.allocUnsafe(256 * 1024)
  const pull = async ({ digest, blobs }: Image) => {
    await cache.manifest(place, digest)
    await Promise.all(
      blobs.map(async (blob) => {
        asked.requests += 1
        asked.bytes += blob.size
        const { content } = await cache.blob(place, blob.digest)
        if (content.kind === 'small') return
        const target = buffer()
        const hash = createHash('sha256')
        let position = 0
        for (let bytes = 1; bytes > 0; position += bytes) {
          bytes = await content.read(target, position)
          hash.update(target.subarray(0, bytes))
        }
        content.close()
        if (`sha256:${hash.digest('hex')}` !== blob.digest) counts.failed += 1
      }),
    )
  }
  const started = performance.now()
  let done = 0
  try {
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        while (done < pulls.length) {
          const image = images[pulls[done] ?? 0]
          done += 1
          time += 1000
          if (image !== undefined) await pull(image)
          counts.most = Math.max(counts.most, cache.inventory.holding().bytes)
        }
      }),
    )
  } finally {
    await cache.close()
    rmSync(dir, { recursive: true })
  }
  const ours = {
    requests: 1 - fetched.requests / asked.requests,
    bytes: 1 - fetched.bytes / asked.bytes,
  }
  process.stdout.write(
    `${pulls.length} pulls, 8 at once, of ${images.length} images of ${Math.round(sum / mebibyte)} MiB, in a cache of ${capacity / mebibyte} MiB; ${Math.round((performance.now() - started) / 1000)} s
hits of blobs: ${percent(ours.requests)}, the best possible ${percent(best.requests)}, ratio ${(ours.requests / best.requests).toFixed(2)}
hits by bytes: ${percent(ours.bytes)}, the best possible ${percent(best.bytes)}, ratio ${(ours.bytes / best.bytes).toFixed(2)}
${counts.evicted} images went, ${counts.uncached} blobs were not kept, ${counts.failed} bodies wrong, ${(counts.most / mebibyte).toFixed(1)} MiB held at most
`,
  )
}

/** A registry without a network. */
function originOf(images: Image[], onBlob: (bytes: number) => void): OpenUpstream {
  const manifests = new Map(images.map(({ digest, bytes }) => [digest, bytes]))
  const blobs = new Map(images.flatMap((image) => image.blobs.map((blob) => [blob.digest, blob])))
  return ({ resource }, receiver) => {
    let isOver = false
    let resume = Promise.withResolvers<void>()
    resume.resolve()
    const digest = resource.slice(resource.indexOf('/') + 1) as Digest
    const blob = blobs.get(digest)
    const work = async () => {
      await setImmediate()
      const bytes = manifests.get(digest) ?? bytesOf(blob ?? { name: '', size: 0 })
      if (blob !== undefined) onBlob(bytes.length)
      if (isOver) return
      receiver.start({ status: 200, headers: { 'content-length': String(bytes.length) } })
      for (let at = 0; at < bytes.length; at += 128 * 1024) {
        await resume.promise
        if (isOver) return
        receiver.data(bytes.subarray(at, at + 128 * 1024))
        await setImmediate()
      }
      await resume.promise
      if (!isOver) receiver.end()
    }
    void work()
    return {
      pause: () => void (resume = Promise.withResolvers<void>()),
      resume: () => resume.resolve(),
      abort: () => void (isOver = true),
    }
  }
}

/** Fills an index with images of ten contents, three of them shared by ten images. */
function fillIndex(dir: string, entries: number): void {
  fillInBulk(dir, ({ content, edge, link, tag }) => {
    for (let image = 0, written = 0; written < entries; image += 1) {
      const manifest = digestOf(`manifest ${image}`)
      // Neighbours in age are no neighbours in digest.
      const at = 1_000_000 + image * 1000
      content.run(manifest, mediaTypes.ociManifest, 1000, 1, at, at)
      link.run(place.upstream, place.repository, manifest, 'manifest')
      tag.run(place.upstream, place.repository, `${image}`, manifest, 0)
      written += 7
      for (let part = 0; part < 9; part += 1) {
        const owner = part < 3 ? `family ${Math.floor(image / 10)}` : `image ${image}`
        const digest = digestOf(`${owner} ${part}`)
        content.run(digest, 'application/octet-stream', 1000, 1, at, at)
        edge.run(manifest, digest)
        link.run(place.upstream, place.repository, digest, 'blob')
      }
    }
  })
}

/** Milliseconds of CPU. */
async function cpuOf(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1000
}

async function choiceCost(): Promise<void> {
  const rounds = 300
  let first: number | undefined
  for (const entries of [1000, 10_000, 100_000, 1_000_000]) {
    const dir = mkdtempSync('/tmp/eviction-')
    try {
      openStore(dir).close()
      fillIndex(dir, entries)
      const opening = performance.now()
      const index = openIndex(dir)
      const opened = performance.now() - opening
      const removals = createRemovals({
        store: { takeOut: () => async () => undefined },
        index: () => index,
        isBusy: () => false,
        isArriving: () => false,
        onGone: () => undefined,
      })
      const held = index.holding()
      const limits = { maxBytes: held.bytes, minFree: 0 }
      const room = createRoom({
        index: () => index,
        removals,
        limits,
        freeBytes: () => Infinity,
        flush: () => undefined,
        storageProblems: createStorageProblems(log, () => undefined),
        log,
        metrics: uncounted,
      })
      const times = { choice: 0, all: 0 }
      const count = Math.min(rounds, Math.floor(entries / 14))
      for (let round = 0; round < count; round += 1) {
        limits.maxBytes = index.holding().bytes - 1
        times.choice += await cpuOf(async () => {
          const [oldest] = index.oldest(undefined, 16)
          const digest = oldest?.digest ?? digestOf('')
          const parts = removals.partsToEvict(digest)
          if (removals.isInUse(digest, parts)) throw new Error('nobody uses anything here')
        })
        times.all += await cpuOf(async () => room.reserve(0))
      }
      await room.close()
      index.close()
      const choice = times.choice / count
      first ??= choice
      process.stdout.write(
        `${held.entries.toLocaleString('en').padStart(9)} contents: opened in ${opened.toFixed(0)} ms; an image chosen in ${choice.toFixed(3)} ms of CPU (${(choice / first).toFixed(2)}x), and dropped in ${(times.all / count).toFixed(2)} ms
`,
      )
    } finally {
      rmSync(dir, { recursive: true })
    }
  }
}

const [part, scale = '1'] = process.argv.slice(2)
if (part !== 'hits') await choiceCost()
if (part !== 'choice') await hitRatio(Number(scale))
