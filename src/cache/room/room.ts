// Makes room for what comes: the images that were not pulled for longest go, one after the other.
import { setImmediate } from 'node:timers/promises'
import type { Logger } from 'pino'
import { systemCode } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { roughSize } from '../../config/units.ts'
import { createQuietLog } from '../../rules/quiet-log.ts'
import type { Index } from '../index/content-index.ts'
import type { Reference, Root } from '../index/image-queries.ts'
import type { StorageProblems } from '../storage-problems.ts'
import { pinnedTooMuch, type RoomLimits } from './limits.ts'
import { refersToKept, type Removals } from './removals.ts'

/** Why something is not kept: more than fits beside the pins, nothing that may go, an index that lacks most. */
export type UncachedCause = 'too_large' | 'no_room' | 'no_index'

export interface RoomMetrics {
  /** An image went, with so many bytes; content of no image has no names. */
  evicted: (bytes: number, names: readonly Reference[]) => void
  /** Something is passed on without being kept. */
  uncached: (cause: UncachedCause) => void
}

/** Bytes that are kept free for something that comes. */
export interface Reservation {
  /** It is stored, and counts as that; or it never will be. */
  release: () => void
}

export interface Room {
  /**
   * Room for so many bytes: at once where it is there, else once it is made. undefined: there is none.
   * @param come how many of them are on the disk already
   */
  reserve: (
    bytes: number,
    come?: () => number,
  ) => Reservation | undefined | Promise<Reservation | undefined>
  /** Something will be asked for soon: begins to make room. `bytes` is asked where there is little. */
  expect: (bytes: () => number) => void
  /** Begins to make room where there is too little, whoever took it. */
  trim: () => void
  /** What is wrong, a sentence each. */
  problems: () => string[]
  /** Waits for the step that is under way. */
  close: () => Promise<void>
}

export interface RoomOptions {
  index: () => Index
  removals: Removals
  limits: RoomLimits
  /** Of the file system, bytes. */
  freeBytes: () => number
  /** Writes to the index what is known of pulls. */
  flush: () => void
  storageProblems: StorageProblems
  log: Logger
  metrics: RoomMetrics
}

/** Of `maxBytes`, so much at most is made free because a manifest says that it will come. */
const expectedShare = 1 / 8
/** As it is told where it fails. */
const making = 'making room in the cache'
const stepRows = 16
const minute = 60_000
/** How often it is looked what is left where there is plenty, ms. */
const lookEvery = 100
/** For so long it is known what is pinned, ms. */
const pinnedFor = 10_000

export function createRoom(options: RoomOptions): Room {
  const { index, limits, freeBytes, flush, storageProblems } = options
  const account = createAccount(options)
  const refusal = createRefusal(options)
  const evict = createEviction(options)
  /** An index that cannot be read is no reason to keep nothing, and none to fail. */
  const read = <T>(query: (from: Index) => T, otherwise: T): T => {
    try {
      return query(index())
    } catch (error) {
      storageProblems.note(error, 'reading the index of the cache')
      return otherwise
    }
  }
  const pinned = remembered(() => read((from) => from.pinnedBytes(), 0))
  const canChoose = () => read(isWhole, false)
  const line = createLine((error) => storageProblems.note(error, making))
  let isClosed = false

  /** Whether so many bytes fit now. */
  async function make(bytes: number): Promise<boolean> {
    flush()
    // Some file systems tell a while later what a deleted file gave back.
    const before = freeBytes()
    let freed = 0
    let after: Root | undefined
    const isEnough = () => account.lacking(bytes, Math.max(freeBytes(), before + freed)) <= 0
    while (!isEnough()) {
      const roots = index().oldest(after, stepRows)
      if (roots.length === 0) return false
      for (const root of roots) {
        if (isClosed) return false
        after = root
        freed += await evict(root.digest)
        if (isEnough()) break
        await setImmediate()
      }
    }
    return true
  }

  function begin(bytes: number): void {
    if (line.isWaitedIn() || isClosed || !canChoose() || account.lacking(bytes) <= 0) return
    void line.wait(async () => make(bytes), false)
  }

  return {
    reserve(bytes, come = () => 0) {
      if (!line.isWaitedIn() && account.fits(bytes)) return account.grant(bytes, come)
      if (!canChoose()) return refusal.refuse(bytes, 'no_index')
      if (bytes > limits.maxBytes - pinned()) return refusal.refuse(bytes, 'too_large')
      return line.wait(async () => {
        if (await make(bytes)) return account.grant(bytes, come)
        return refusal.refuse(bytes, 'no_room')
      }, undefined)
    },
    expect(bytes) {
      const most = limits.maxBytes * expectedShare
      if (!account.fits(most)) begin(Math.min(bytes(), most))
    },
    trim: () => begin(0),
    problems: () => [...pinnedTooMuch(pinned(), limits), ...refusal.problems()],
    async close() {
      isClosed = true
      await line.end()
    },
  }
}

/** What is taken, and what is promised to those who come. */
function createAccount({ index, limits, freeBytes, storageProblems }: RoomOptions) {
  const reserved = new Set<{ bytes: number; come: () => number }>()
  /** So many bytes fit whatever others take meanwhile, until then. */
  let plenty = 0
  let until = -Infinity

  /** What the index counts; an index that cannot be read is no reason to keep nothing. */
  function heldBytes(): number {
    try {
      return index().holding().bytes
    } catch (error) {
      storageProblems.note(error, 'reading the index of the cache')
      return 0
    }
  }

  /** Bytes that are too many once so many more have come; at most 0 where they fit. */
  function lacking(bytes: number, free = freeBytes()): number {
    const all = [...reserved]
    const taken = all.reduce((sum, one) => sum + one.bytes, heldBytes())
    const toCome = all.reduce((sum, one) => sum + Math.max(0, one.bytes - one.come()), 0)
    return Math.max(taken + bytes - limits.maxBytes, limits.minFree + toCome + bytes - free)
  }

  return {
    lacking,
    /** Whether so many bytes more fit; looks at disk and index now and then, and where little is left. */
    fits(bytes: number): boolean {
      const now = performance.now()
      if (now < until && bytes <= plenty) return true
      const left = -lacking(0)
      plenty = left / 2
      until = now + lookEvery
      return bytes <= left
    },
    grant(bytes: number, come: () => number): Reservation {
      const one = { bytes, come }
      reserved.add(one)
      plenty -= bytes
      return { release: () => void reserved.delete(one) }
    },
  }
}

/** Counts what is not kept, and tells it. */
function createRefusal({ log, metrics }: RoomOptions) {
  const quiet = createQuietLog(() => performance.now())
  let lastAt = -Infinity

  function refuse(bytes: number, cause: UncachedCause): undefined {
    metrics.uncached(cause)
    if (cause === 'no_room') lastAt = performance.now()
    const suppressed = quiet('uncached')
    if (suppressed === undefined) return
    const what = `no room in the cache for ${roughSize(bytes)}: passed on without being kept`
    log.warn({ cause, bytes, suppressed }, what)
  }

  return {
    refuse,
    /** Within the last minute. */
    problems: () =>
      performance.now() - lastAt > minute
        ? []
        : [
            'the cache has no room, and nothing that may go: free its disk, raise cache.maxBytes, or unpin',
          ],
  }
}

/**
 * Returns what removes an image if it may go now; the bytes that are free then. What the file system does
 * not let go stays. Rejects where the index fails.
 */
function createEviction({ index, removals, storageProblems, metrics }: RoomOptions) {
  async function evict(digest: Digest): Promise<number> {
    if (refersToKept(index(), digest)) {
      index().keepWithSubject(digest)
      return 0
    }
    const parts = removals.partsToEvict(digest)
    if (parts.length === 0 || removals.isInUse(digest, parts)) return 0
    const names = index().namesOf(digest)
    const bytes = await removals.remove(parts, names)
    metrics.evicted(bytes, names)
    return bytes
  }

  return async (digest: Digest): Promise<number> => {
    try {
      return await evict(digest)
    } catch (error) {
      // Files that nobody can forget would go until none is left.
      if (systemCode(error) === 'ERR_SQLITE_ERROR') throw error
      storageProblems.note(error, making)
      return 0
    }
  }
}

/** One after the other, so that nobody gets what was made free for another. */
function createLine(onError: (error: unknown) => void) {
  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0
  return {
    isWaitedIn: () => waiting > 0,
    /** Resolves to `otherwise` where the work fails. */
    async wait<T>(work: () => Promise<T>, otherwise: T): Promise<T> {
      waiting += 1
      const turn = last.then(work).catch((error: unknown) => {
        onError(error)
        return otherwise
      })
      last = turn
      try {
        return await turn
      } finally {
        waiting -= 1
      }
    },
    end: async () => last,
  }
}

/** It knows all that is stored: until then nobody can tell what goes together. */
function isWhole(index: Index): boolean {
  return !index.isProvisional && !index.lacksFacts()
}

function remembered(read: () => number): () => number {
  let value = 0
  let until = -Infinity
  return () => {
    if (performance.now() > until) {
      value = read()
      until = performance.now() + pinnedFor
    }
    return value
  }
}
