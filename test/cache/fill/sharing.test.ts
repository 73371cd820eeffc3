// One download and many clients: none of them costs another GET, memory, or the others' patience.
import { randomBytes } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import type { Found, Large } from '../../../src/cache/cache.ts'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import {
  addBlob,
  app,
  hashAll,
  largest,
  minute,
  readAll,
  startSite,
  storedIn,
  until,
} from '../../helpers/cache.ts'
import { gate, on, valveAfter } from '../../helpers/upstream.ts'

const clients = 50

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

t.test('50 clients on one cold blob: one GET, and memory that stays flat', async (t) => {
  const { image, cache, upstream, counts } = await startSite(t)
  const bytes = randomBytes(64 * 2 ** 20)
  const digest = addBlob(image, bytes)
  // What is needed once, whatever is pulled.
  await hashAll(
    await cache.blob(app, largest(await buildSampleImage({ layerBytes: 2_000_000 }))[0]),
  )
  const before = liveBytes()
  const seen: number[] = []
  const look = (position: number) => {
    if (position >= seen.length * 8 * 2 ** 20) seen.push(liveBytes() - before)
  }
  const right = await Promise.all(
    Array.from({ length: clients }, async (_, index) =>
      isAllOf(bytes, await cache.blob(app, digest), index === 0 ? look : undefined),
    ),
  )
  t.same(new Set(right), new Set([true]))
  t.equal(upstream.count(new RegExp(`^GET .*${digest}`)), 1)
  t.equal(counts.coalesced, clients - 1)
  t.ok(seen.length >= 8, 'memory was looked at on the way')
  // A buffer for each client, and a few stages; the blob is twice of it.
  const allowed = (clients + 78) * 256 * 1024
  const peak = Math.max(...seen)
  t.ok(peak < allowed, `${Math.round(peak / 2 ** 20)} MiB more`)
})

t.test('50 clients on one cold manifest and one cold tag: one GET each', async (t) => {
  const hold = gate()
  const { image, cache, upstream } = await startSite(t, { faults: [hold.fault] })
  const [digest] = [...image.manifests.keys()]
  if (digest === undefined) throw new Error('no manifest')
  const asked = Array.from({ length: clients }, async (_, index) =>
    index % 2 === 0 ? cache.manifest(app, digest) : cache.tag(app, 'latest'),
  )
  await hold.held(2)
  hold.open()
  await Promise.all(asked)
  t.equal(upstream.requests.length, 2)
})

t.test('the first reader leaves: the others go on', async (t) => {
  const valve = valveAfter(600_000)
  const { image, cache, upstream } = await startSite(t, {
    faults: [on(/^GET .*blobs/, valve.fault)],
    stallTimeout: minute,
  })
  const [digest] = largest(image)
  const first = large(await cache.blob(app, digest))
  t.ok((await first.read(Buffer.alloc(1000), 0)) > 0)
  const second = await cache.blob(app, digest)
  first.close()
  const third = await cache.blob(app, digest)
  t.equal(third.source, 'fill')
  valve.open()
  t.equal(await hashAll(second), digest)
  t.equal(await hashAll(third), digest)
  t.equal(upstream.count(/^GET/), 1)
})

t.test('every reader leaves: it is stored all the same', async (t) => {
  const valve = valveAfter(600_000)
  const { image, cache, upstream, dir, counts } = await startSite(t, {
    faults: [on(/^GET .*blobs/, valve.fault)],
    stallTimeout: minute,
  })
  const [digest] = largest(image)
  const only = large(await cache.blob(app, digest))
  const reading = only.read(Buffer.alloc(1000), 1_500_000)
  only.close()
  await t.rejects(async () => reading, { code: 'UNAVAILABLE' })
  valve.open()
  await until(() => counts.fills === 0)
  t.same(storedIn(dir), [digest])
  const again = await cache.blob(app, digest)
  t.equal(again.source, 'disk')
  t.equal(await hashAll(again), digest)
  t.equal(upstream.count(/^GET/), 1)
})

t.test('so many downloads that nobody reads go on, others can be pulled again', async (t) => {
  const valve = valveAfter(600_000)
  const { image, cache, upstream, dir, counts } = await startSite(t, {
    faults: [on(/^GET .*blobs/, valve.fault)],
    stallTimeout: minute,
  })
  const blobs = Array.from({ length: 20 }, () => randomBytes(1_500_000))
  const digests = blobs.map((bytes) => addBlob(image, bytes))
  const readers = await Promise.all(digests.map(async (digest) => cache.blob(app, digest)))
  for (const reader of readers) large(reader).close()
  await until(() => counts.fills === 16, 'the end of those beyond sixteen')
  valve.open()
  await until(() => counts.fills === 0, 'the end of the others')
  t.equal(storedIn(dir).length, 16)
  const again = await Promise.all(
    digests.map(async (digest) => hashAll(await cache.blob(app, digest))),
  )
  t.same(again, digests)
  t.equal(upstream.count(/^GET/), 24, 'only the four that were ended are asked for again')
})

t.test('a slow reader slows nobody, costs no memory, and gets all of it', async (t) => {
  const { image, cache, counts } = await startSite(t)
  const bytes = randomBytes(48 * 2 ** 20)
  const digest = addBlob(image, bytes)
  await hashAll(await cache.blob(app, largest(image)[0]))
  const slowFound = await cache.blob(app, digest)
  const before = liveBytes()
  const slow = large(slowFound)
  const buffer = Buffer.alloc(1024)
  let position = await slow.read(buffer, 0)
  t.equal(await hashAll(await cache.blob(app, digest)), digest, 'another one has it all')
  position += await slow.read(buffer, position)
  t.ok(position <= 2048)
  await until(() => counts.fills === 0)
  const growth = liveBytes() - before
  t.ok(growth < 16 * 2 ** 20, `${Math.round(growth / 2 ** 20)} MiB more`)
  t.ok((await readAll(slowFound, position)).equals(bytes.subarray(position)))
})

t.test('a Range of what has come is served, one far ahead waits for its bytes', async (t) => {
  const valve = valveAfter(600_000)
  const { image, cache, upstream } = await startSite(t, {
    faults: [on(/^GET .*blobs/, valve.fault)],
    stallTimeout: minute,
  })
  const [digest, bytes] = largest(image)
  const near = large(await cache.blob(app, digest))
  const far = await cache.blob(app, digest)
  const buffer = Buffer.alloc(1000)
  t.equal(await near.read(buffer, 500_000), 1000)
  t.ok(buffer.equals(bytes.subarray(500_000, 501_000)))
  near.close()
  const reading = large(far).read(buffer, 1_900_000)
  t.type(reading, Promise)
  valve.open()
  t.equal(await reading, 1000)
  t.ok(buffer.equals(bytes.subarray(1_900_000, 1_901_000)))
  t.ok((await readAll(far, 1_901_000)).equals(bytes.subarray(1_901_000)))
  t.equal(upstream.count(/^GET/), 1)
})

t.test('the last byte waits until the digest is verified', async (t) => {
  const image = await buildSampleImage({ layerBytes: 2_000_000 })
  const [digest, bytes] = largest(image)
  const valve = valveAfter(bytes.length - 1)
  const { cache } = await startSite(t, {
    image,
    faults: [on(/^GET .*blobs/, valve.fault)],
    stallTimeout: minute,
  })
  const content = large(await cache.blob(app, digest))
  const buffer = Buffer.alloc(1000)
  t.equal(await content.read(buffer, bytes.length - 10), 9, 'all but the last one')
  const last = content.read(buffer, bytes.length - 1)
  t.type(last, Promise)
  valve.open()
  t.equal(await last, 1)
  t.equal(await content.read(buffer, bytes.length), 0)
  content.close()
})

/** Compares all of it, which costs a fraction of a hash. */
async function isAllOf(bytes: Buffer, found: Found, onRead?: (position: number) => void) {
  const content = large(found)
  const buffer = Buffer.alloc(256 * 1024)
  let position = 0
  for (let count = -1; count !== 0; position += count) {
    count = await content.read(buffer, position)
    if (!buffer.subarray(0, count).equals(bytes.subarray(position, position + count))) return false
    onRead?.(position)
  }
  content.close()
  return position === bytes.length
}

function large({ content }: Found): Large {
  if (content.kind === 'large') return content
  throw new Error('it is small')
}

/** What cannot be given back now. */
function liveBytes(): number {
  // The second one waits until what the first has found is given back.
  collectGarbage()
  collectGarbage()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}
