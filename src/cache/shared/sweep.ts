// Compares what the cache knows with what the object store does, and notes what that lacks: what was there
// before the tier was configured, what another process has brought, what found no room in the queue. What
// was pruned there stays away until somebody pulls it; what is pulled is written again once a day, so that
// a pruning knows.
import { setImmediate } from 'node:timers/promises'
import { isDigest, type Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import type { StorageProblems } from '../storage-problems.ts'
import type { Pause } from './pause.ts'
import { readPruned } from './pruning/records.ts'
import type { StoreAccess } from './store-access.ts'
import { sharedLinkKey, placePrefix, tagKey } from './layout.ts'
import type { Task } from './queue.ts'

export interface SweepOptions {
  access: StoreAccess
  index: TolerantIndex
  storageProblems: StorageProblems
  seen: { set: (key: string, value: true) => unknown }
  note: (task: Task) => void
  pause: Pause
}

interface Sweep extends SweepOptions {
  /** The last one when it begins. */
  pruning: string
  signal: AbortSignal
}

/** What a bucket has of a repository. */
interface Held {
  /** When each object was written, ms since 1970. */
  keys: Map<string, number>
  /** When a digest or a tag was pruned last. */
  pruned: Map<string, number>
}

/** How often what is here is compared with what is there, and how soon again where that was not possible, ms. */
const compareEvery = 24 * 3_600_000
const compareAfter = 20_000
/** Repositories that are looked up at once. */
const step = 100
const listMs = 60_000
const askMs = 2000
/** A pull is told this long after the one before, ms. */
const pullStep = 24 * 3_600_000

/** `waiting`: how many tasks there are. Sweeps now, once a day, and when it is needed, as soon as the store and the queue allow it. */
export function startComparing(options: SweepOptions, waiting: () => number) {
  const end = new AbortController()
  let hasOverflowed = false
  let isCompared = false

  async function compare(): Promise<void> {
    if (isCompared || (hasOverflowed && waiting() > 0)) return
    const { access, pause } = options
    const asked = await access.use('read', { ms: askMs }, async () => pause.pruning())
    if (asked?.value === undefined || isCompared || end.signal.aborted) return
    hasOverflowed = false
    isCompared = true
    const isDone = await sweep({ ...options, pruning: asked.value, signal: end.signal })
    isCompared &&= isDone
  }

  void compare()
  const timers = [
    setInterval(() => void compare(), compareAfter),
    setInterval(() => void (isCompared = false), compareEvery),
  ]
  for (const timer of timers) timer.unref()
  return {
    /** Something found no room in the queue. */
    isNeeded(): void {
      hasOverflowed = true
      isCompared = false
    },
    /** What it has found is not true any more. */
    isOutdated: (): void => void (isCompared = false),
    problems: () =>
      hasOverflowed
        ? ['the queue of the shared store is full: what found no room comes later']
        : [],
    stop(): void {
      for (const timer of timers) clearInterval(timer)
      end.abort()
    },
  }
}

/**
 * One list request for each repository, and for each thousand of objects in it. Whether it got to the
 * end; never rejects.
 */
async function sweep(options: Sweep): Promise<boolean> {
  for await (const place of placesOf(options)) {
    const held = await heldAt(options, place)
    if (held === undefined) return false
    options.storageProblems.guard('comparing the cache with the shared store', () =>
      notePlace(options, place, held),
    )
  }
  return !options.signal.aborted
}

async function* placesOf({ index, signal }: Sweep): AsyncGenerator<Place> {
  for (const upstream of index.upstreams()) {
    let after: string | undefined = ''
    while (after !== undefined && !signal.aborted) {
      const { held, last }: { held: string[]; last: string | undefined } = index.repositories(
        upstream,
        after,
        step,
      )
      for (const repository of held) {
        if (!signal.aborted) yield { upstream, repository }
      }
      after = last
      await setImmediate()
    }
  }
}

/** undefined: the store does not answer, or is pruned at this moment. */
async function heldAt(options: Sweep, place: Place): Promise<Held | undefined> {
  const { access, pause, pruning, signal } = options
  const found = await access.use('read', { ms: listMs }, async (limit) => {
    const keys = new Map<string, number>()
    const until = AbortSignal.any([signal, limit])
    for await (const { key, modified } of access.store.list(placePrefix(place), until)) {
      keys.set(key, modified)
    }
    const pruned = await readPruned(keys.keys(), async (key) => access.bytes(key, until))
    return (await pause.pruning()) === pruning ? { keys, pruned } : undefined
  })
  return found?.value
}

function notePlace({ index, seen, note }: SweepOptions, place: Place, held: Held): void {
  const { upstream, repository } = place
  const isWanted = createJudge(index, place, held)
  for (const { digest, kind } of index.current().links({ place })) {
    const key = sharedLinkKey(place, digest, kind)
    const written = held.keys.get(key)
    const link = { do: 'link' as const, upstream, repository, digest, kind }
    if (written === undefined) {
      if (isDigest(digest) && isWanted(digest)) note(link)
      continue
    }
    seen.set(key, true)
    const isPulled = kind === 'manifest' && pulledAt(index, digest) - written > pullStep
    if (isPulled) note({ ...link, isPulled })
  }
  for (const name of index.tagsOf(place)) {
    const facts = held.keys.has(tagKey(place, name)) ? undefined : index.tag(place, name)
    if (facts === undefined || !isWanted(facts.digest)) continue
    const isPruned = (held.pruned.get(name) ?? 0) >= facts.checkedAt
    if (!isPruned) note({ do: 'tag', upstream, repository, name, ...facts })
  }
}

/** Returns whether a digest that is not there should be: it was not pruned, or an image needs it that is there or was pulled since. */
function createJudge(index: TolerantIndex, place: Place, { keys, pruned }: Held) {
  if (pruned.size === 0) return () => true
  const needed = new Set<Digest>()
  const need = (digest: Digest): void => {
    for (const part of index.current().partsOf(digest)) needed.add(part.digest)
  }
  for (const { digest, kind } of index.current().links({ place })) {
    if (kind !== 'manifest') continue
    const isThere = keys.has(sharedLinkKey(place, digest, kind))
    if (isThere || pulledAt(index, digest) > (pruned.get(digest) ?? 0)) need(digest)
  }
  for (const name of index.tagsOf(place)) {
    const facts = index.tag(place, name)
    if (facts && facts.checkedAt > (pruned.get(facts.digest) ?? 0)) need(facts.digest)
  }
  return (digest: Digest) => !pruned.has(digest) || needed.has(digest)
}

/** ms since 1970; 0 where it is not stored here. */
function pulledAt(index: TolerantIndex, digest: Digest): number {
  const [signed] = index.childrenOf(digest, 'signed')
  return index.content(signed ?? digest)?.accessed ?? 0
}
