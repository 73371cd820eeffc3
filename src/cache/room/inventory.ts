// What the cache holds, for whoever looks in, makes room by hand, or says what must stay.
import { setImmediate } from 'node:timers/promises'
import { isDigest, type Digest } from '../../oci/digest.ts'
import type { Index } from '../index/content-index.ts'
import type { PinOwner, Reference } from '../index/image-queries.ts'
import {
  listBlobs,
  listImages,
  pinnersOf,
  type HeldBlob,
  type HeldImage,
  type InventoryPage,
  type PageOptions,
} from './images.ts'
import { findCandidates, type Candidate, type PruneFilter } from './candidates.ts'
import { isAt, refersToKept, type Removals, type Taken } from './removals.ts'

/** One step of pruning; what loses a name and is needed by another frees nothing. */
export interface Pruned {
  digest: Digest
  /** The names that go; none for content that is of no image. */
  names: Reference[]
  /** What it frees, bytes, and how many files. */
  bytes: number
  blobs: number
}

/** What became of a removal. */
export type RemovalResult =
  | { kind: 'removed'; digest: Digest; bytes: number; blobs: number }
  /** There is no such image. */
  | { kind: 'missing' }
  | { kind: 'pinned'; by: PinOwner[] }
  /** It is being pulled: to be tried again. */
  | { kind: 'busy' }

/** Every call reads what is true now. All reject with what SQLite or the file system says. */
export interface Inventory {
  /** By name: those that have a tag, then those without. UsageError `cursor`. */
  images: (options?: PageOptions) => InventoryPage<HeldImage>
  blobs: (options?: PageOptions) => InventoryPage<HeldBlob>
  /** Bytes and number of all that is stored. */
  holding: () => { bytes: number; entries: number }
  /** What `prune` would do, least recently pulled first; changes nothing. */
  plan: (filter: PruneFilter) => AsyncIterable<Pruned>
  /** Does it, step by step, and tells each. Pinned images, what is about them, and what is in use, stay. */
  prune: (filter: PruneFilter) => AsyncIterable<Pruned>
  /** Takes the name away, and the content that nothing else needs. `force`: though it is pinned. */
  remove: (name: Reference, options?: { force?: boolean }) => Promise<RemovalResult>
  pins: () => (Reference & { owner: PinOwner })[]
  /** Keeps what the name means, whatever that will be, by tag; or by digest. May come before the image. */
  pin: (name: Reference, owner?: PinOwner) => void
  unpin: (name: Reference, owner?: PinOwner) => void
}

export interface InventoryOptions {
  index: () => Index
  removals: Removals
  /** Writes to the index what is known of pulls. */
  flush: () => void
  /** Milliseconds since 1970. */
  now: () => number
}

export function createInventory({ index, removals, flush, now }: InventoryOptions): Inventory {
  /** What of a candidate would go: undefined where it has to stay. */
  function judged({ digest, names }: Candidate, taken?: Taken) {
    // A tag may have come to mean something else since the candidate was found.
    const own = names.filter((name) => (index().storedAs(name) ?? digest) === digest)
    const free = own.filter((name) => pinnersOf(index(), { ...name, digest }).length === 0)
    if (names.length > 0 && free.length === 0) return undefined
    if (refersToKept(index(), digest)) return undefined
    const parts = removals.partsOf(digest, free, taken)
    if (removals.isInUse(digest, parts)) return undefined
    const bytes = parts.reduce((sum, part) => sum + (index().content(part)?.size ?? 0), 0)
    return { parts, step: { digest, names: free, bytes, blobs: parts.length } }
  }

  async function* plan(filter: PruneFilter): AsyncGenerator<Pruned> {
    flush()
    const taken: Taken = { digests: new Set(), names: new Set() }
    let { bytes } = index().holding()
    for (const candidate of await findCandidates(index, filter, now())) {
      if (filter.to !== undefined && bytes <= filter.to) return
      const found = judged(candidate, taken)
      if (found === undefined) continue
      bytes -= found.step.bytes
      yield found.step
      await setImmediate()
    }
  }

  async function* prune(filter: PruneFilter): AsyncGenerator<Pruned> {
    flush()
    for (const candidate of await findCandidates(index, filter, now())) {
      if (filter.to !== undefined && index().holding().bytes <= filter.to) return
      const found = judged(candidate)
      if (found === undefined) continue
      yield { ...found.step, bytes: await removals.remove(found.parts, found.step.names) }
      await setImmediate()
    }
  }

  async function remove(name: Reference, { force = false } = {}): Promise<RemovalResult> {
    const digest = index().storedAs(name)
    if (digest === undefined || index().standing(digest) === undefined) return { kind: 'missing' }
    // Who means the digest means the tags that it has here as well.
    const here = index()
      .namesOf(digest)
      .filter((other) => isAt(name, other))
    const names = isDigest(name.reference) ? here : [name]
    const by = new Set(names.flatMap((lost) => pinnersOf(index(), { ...lost, digest })))
    if (by.size > 0 && !force) return { kind: 'pinned', by: [...by] }
    if (removals.isInUse(digest, [])) return { kind: 'busy' }
    for (const lost of [...names, { ...name, reference: digest }]) {
      for (const owner of index().pinners(lost)) index().unpin(lost, owner)
    }
    const parts = removals.partsOf(digest, names)
    const bytes = await removals.remove(parts, names)
    return { kind: 'removed', digest, bytes, blobs: parts.length }
  }

  return {
    images(options) {
      flush()
      return listImages(index(), options)
    },
    blobs(options) {
      flush()
      return listBlobs(index(), options)
    },
    holding: () => index().holding(),
    plan,
    prune,
    remove,
    pins: () => index().pins(),
    pin: (name, owner = 'operator') => index().pin(name, owner),
    unpin: (name, owner = 'operator') => index().unpin(name, owner),
  }
}
