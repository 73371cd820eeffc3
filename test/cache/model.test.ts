// A model of the cache: whatever happens to it, what it serves hashes to its name, and what it has
// acknowledged is still there.
import * as fc from 'fast-check'
import { closeSync, existsSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Cache, Found, Small } from '../../src/cache/cache.ts'
import { GatewayError } from '../../src/errors.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts'
import { addBlob, app, minute, readAll, startSite, storedIn, until } from '../helpers/cache.ts'
import * as faults from '../helpers/upstream.ts'

type Site = Awaited<ReturnType<typeof startSite>>

/** What has to be so, as far as what was done says. */
interface Model {
  /** Stored and told as such, and not damaged since. */
  kept: Set<Digest>
  /** The tag has been pulled. */
  hasTag: boolean
  isOffline: boolean
  /** Bytes that the cache may take. */
  maxBytes: number
}

/** The cache that is open now, and what it is in front of. */
interface Real {
  site: Site
  cache: Cache
  blobs: Map<Digest, Buffer>
}

/** All from this share of it on. */
interface Part {
  digest: Digest
  share: number
}

type Command = fc.AsyncCommand<Model, Real>

const image = await buildSampleImage({ layerBytes: 1000 })
for (const size of [1, 70_000, 300_000, 1_200_000]) {
  addBlob(image, Buffer.alloc(size, `blob of ${size}`))
}
const latest = { ...app, reference: 'latest' }
const everything = 2 ** 50
const digests = [...image.blobs.keys()]
const manifests = [...image.manifests.keys()]

/** Reads from an offset, whole bodies and parts, some of them cold, several at once. */
class Pull implements Command {
  readonly wanted: Part[]
  constructor(wanted: Part[]) {
    this.wanted = wanted
  }
  check = () => true
  async run(model: Model, real: Real) {
    await Promise.all(this.wanted.map(async (one) => pull(model, real, one)))
    await settled(real)
    if (!model.isOffline) for (const { digest } of this.wanted) model.kept.add(digest)
    await takeNote(model, real)
  }
  toString = () =>
    `pull(${this.wanted.map(({ digest, share }) => `${nameOf(digest)} from ${share}`).join(', ')})`
}

/** A client that leaves in the middle. */
class Leave implements Command {
  readonly digest: Digest
  constructor(digest: Digest) {
    this.digest = digest
  }
  check = () => true
  async run(_model: Model, { cache }: Real) {
    const found = await attempted(async () => cache.blob(app, this.digest))
    if (found?.content.kind !== 'large') return
    await found.content.read(Buffer.alloc(1000), 0)
    found.content.close()
  }
  toString = () => `leave(${nameOf(this.digest)})`
}

class PullTag implements Command {
  check = () => true
  async run(model: Model, real: Real) {
    const found = await attempted(async () => real.cache.tag(app, 'latest'))
    if (found === undefined) {
      if (!model.isOffline || model.hasTag) throw new Error('the tag cannot be had')
      return
    }
    model.hasTag = true
    assertRight(found)
    await takeNote(model, real)
  }
  toString = () => 'pull the tag'
}

class PullManifest implements Command {
  readonly digest: Digest
  constructor(digest: Digest) {
    this.digest = digest
  }
  check = () => true
  async run(model: Model, real: Real) {
    const found = await attempted(async () => real.cache.manifest(app, this.digest))
    if (found !== undefined) assertRight(found)
    else if (!model.isOffline || model.kept.has(this.digest)) throw new Error('it cannot be had')
    if (found !== undefined) model.kept.add(this.digest)
    await takeNote(model, real)
  }
  toString = () => `pull manifest ${nameOf(this.digest)}`
}

class Restart implements Command {
  check = () => true
  async run(model: Model, real: Real) {
    await real.cache.close()
    real.cache = real.site.open({ maxBytes: model.maxBytes })
    await takeNote(model, real)
  }
  toString = () => 'restart'
}

class Damage implements Command {
  readonly digest: Digest
  readonly kind: 'truncate' | 'alter' | 'delete'
  constructor(digest: Digest, kind: 'truncate' | 'alter' | 'delete') {
    this.digest = digest
    this.kind = kind
  }
  check = () => true
  async run(model: Model, real: Real) {
    const { site, blobs } = real
    await settled(real)
    const hex = hexOf(this.digest)
    const file = join(site.dir, 'blobs/sha256', hex.slice(0, 2), hex)
    if (!existsSync(file)) return
    // What is in memory or open may be served all the same: only that nothing wrong is.
    model.kept.delete(this.digest)
    const size = blobs.get(this.digest)?.length ?? 0
    if (this.kind === 'delete') rmSync(file)
    else if (this.kind === 'truncate') truncateSync(file, Math.floor(size / 2))
    else alter(file, Math.floor(size / 2))
    await real.cache.close()
    real.cache = site.open({ maxBytes: model.maxBytes })
  }
  toString = () => `${this.kind} ${nameOf(this.digest)}`
}

/** From now on the cache may take no more than that. */
class Limit implements Command {
  readonly maxBytes: number
  constructor(maxBytes: number) {
    this.maxBytes = maxBytes
  }
  check = () => true
  async run(model: Model, real: Real) {
    await real.cache.close()
    model.maxBytes = this.maxBytes
    real.cache = real.site.open({ maxBytes: this.maxBytes })
    await takeNote(model, real)
  }
  toString = () => `at most ${this.maxBytes} bytes`
}

/** Takes the tag out; refused while it is pinned. */
class Remove implements Command {
  check = () => true
  async run(model: Model, real: Real) {
    const { inventory } = real.cache
    const { kind } = await inventory.remove(latest)
    if (kind === 'removed' && inventory.pins().length > 0) throw new Error('a pinned image went')
    if (kind === 'removed') model.hasTag = false
    await takeNote(model, real)
  }
  toString = () => 'remove the tag'
}

class Pin implements Command {
  readonly isPinned: boolean
  constructor(isPinned: boolean) {
    this.isPinned = isPinned
  }
  check = () => true
  async run(_model: Model, { cache: { inventory } }: Real) {
    if (this.isPinned) inventory.pin(latest)
    else inventory.unpin(latest)
  }
  toString = () => (this.isPinned ? 'pin the tag' : 'unpin the tag')
}

/** Down to half of what there is; pins stay. */
class Prune implements Command {
  check = () => true
  async run(model: Model, real: Real) {
    const { inventory } = real.cache
    const before = storedBelow(real.cache)
    const steps = inventory.prune({ to: inventory.holding().bytes / 2 })
    for await (const { bytes } of steps) if (bytes < 0) throw new Error('frees nothing')
    if (inventory.pins().length > 0 && storedBelow(real.cache) < before) {
      throw new Error('something of a pinned image went')
    }
    await takeNote(model, real)
  }
  toString = () => 'prune to the half'
}

class Clock implements Command {
  readonly by: number
  constructor(by: number) {
    this.by = by
  }
  check = () => true
  async run(_model: Model, { site }: Real) {
    site.clock.time += this.by
  }
  toString = () => `clock by ${this.by / minute} min`
}

class Offline implements Command {
  readonly isOffline: boolean
  constructor(isOffline: boolean) {
    this.isOffline = isOffline
  }
  check = () => true
  async run(model: Model, { site }: Real) {
    model.isOffline = this.isOffline
    site.site.offline = this.isOffline
  }
  toString = () => (this.isOffline ? 'go offline' : 'go online')
}

/** The next blobs break off, each once. */
class Cut implements Command {
  check = () => true
  async run(_model: Model, { site }: Real) {
    site.upstream.fail(faults.on(/blobs/, faults.times(2, faults.closeAfter(50_000))))
  }
  toString = () => 'the upstream breaks off'
}

const aDigest = fc.constantFrom(...digests)
const commands = [
  fc
    .array(fc.record({ digest: aDigest, share: fc.constantFrom(0, 0, 0.01, 0.5, 0.99) }), {
      minLength: 1,
      maxLength: 6,
    })
    .map((wanted) => new Pull(wanted)),
  aDigest.map((digest) => new Leave(digest)),
  fc.constant(new PullTag()),
  fc.constantFrom(...manifests).map((digest) => new PullManifest(digest)),
  fc.constant(new Restart()),
  fc
    .record({ digest: aDigest, kind: fc.constantFrom('truncate', 'alter', 'delete') })
    .map(({ digest, kind }) => new Damage(digest, kind)),
  fc.constantFrom(-60, -1, 1, 10, 55).map((minutes) => new Clock(minutes * minute)),
  fc.boolean().map((isOffline) => new Offline(isOffline)),
  fc.constant(new Cut()),
  fc.constantFrom(400_000, 1_500_000, everything).map((maxBytes) => new Limit(maxBytes)),
  fc.constant(new Remove()),
  fc.boolean().map((isPinned) => new Pin(isPinned)),
  fc.constant(new Prune()),
]

t.test('the cache is as its model', { timeout: 110_000 }, async (t) => {
  let runs = 0
  const property = fc.asyncProperty(
    fc.commands(commands, { maxCommands: 20 }),
    async (sequence) => {
      runs += 1
      const site = await startSite(t, { image })
      const real: Real = { site, cache: site.cache, blobs: image.blobs }
      const model: Model = {
        kept: new Set(),
        hasTag: false,
        isOffline: false,
        maxBytes: everything,
      }
      try {
        await fc.asyncModelRun(() => ({ model, real }), sequence)
        // What is damaged is noticed by whoever reads it.
        model.isOffline = site.site.offline = false
        for (const digest of digests) await pull(model, real, { digest, share: 0 })
        await settled(real)
      } finally {
        await real.cache.close()
      }
      storedIn(site.dir)
    },
  )
  await fc.assert(property, { numRuns: 40, interruptAfterTimeLimit: 45_000 })
  t.ok(runs > 5, `${runs} sequences`)
})

/** Fails where the body is wrong, or cannot be had though it should. */
async function pull(
  { isOffline, kept }: Model,
  { cache, blobs }: Real,
  { digest, share }: Part,
): Promise<void> {
  const bytes = blobs.get(digest) ?? Buffer.alloc(0)
  const from = Math.floor(share * bytes.length)
  const got = await attempted(async () => readAll(await cache.blob(app, digest), from))
  if (got === undefined) {
    if (!isOffline || kept.has(digest)) throw new Error(`${digest} cannot be had`)
  } else if (!got.equals(bytes.subarray(from))) throw new Error(`${digest}: wrong from ${from}`)
}

/** What has gone to make room, or because it was to go, need not be had any more. */
async function takeNote(model: Model, { cache }: Real): Promise<void> {
  const { inventory } = cache
  const pinned = () => (inventory.pins().length > 0 ? storedBelow(cache) : 0)
  await until(() => inventory.holding().bytes <= Math.max(model.maxBytes, pinned()), 'room')
  const { rows } = inventory.blobs({ limit: 1000 })
  const stored = new Set(rows.map(({ digest }) => digest))
  for (const digest of model.kept) if (!stored.has(digest)) model.kept.delete(digest)
  model.hasTag &&= inventory.images().rows.some(({ reference }) => reference === 'latest')
}

/** Bytes that are there of the image. */
function storedBelow({ inventory }: Cache): number {
  return inventory.images().rows.find(({ reference }) => reference === 'latest')?.size ?? 0
}

/** undefined where it cannot be had. */
async function attempted<T>(work: () => Promise<T> | T): Promise<T | undefined> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof GatewayError) return undefined
    throw error
  }
}

function assertRight({ content: { digest, bytes } }: Found<Small>): void {
  if (digestOf(bytes) !== digest) throw new Error(`${digest} is wrong`)
}

/** What was downloaded is stored. */
async function settled({ site }: Real): Promise<void> {
  await until(() => site.counts.fills === 0, 'the end of every download')
}

function alter(file: string, offset: number): void {
  const fd = openSync(file, 'r+')
  writeSync(fd, Buffer.from('!'), 0, 1, offset)
  closeSync(fd)
}

function nameOf(digest: Digest): string {
  return digest.slice(7, 13)
}
