// Takes images out of a bucket that replicas share, by the rules of a cache folder: one at a time, while
// the replicas keep what they have to write. Names go before what they name.
import { setTimeout as wait } from 'node:timers/promises'
import { formatDuration } from '../../../config/units.ts'
import type { Index } from '../../index/content-index.ts'
import type { PruneFilter } from '../../room/candidates.ts'
import { createInventory, type Inventory, type Pruned } from '../../room/inventory.ts'
import { createRemovals } from '../../room/removals.ts'
import type { ObjectStore } from '../object-store.ts'
import { believedFor } from '../pause.ts'
import { readFormat } from '../store-access.ts'
import { nameMs } from '../writing.ts'
import { readBucket, type BucketIndex } from './bucket-index.ts'
import { takeLease, type Lease } from './lease.ts'
import { createRemover, type Condemned } from './remover.ts'

export interface StorePruningOptions {
  store: ObjectStore
  filter: PruneFilter
  /** An empty folder for what is read of the bucket. */
  dir: string
  isDryRun: boolean
  /** For people: which process on which machine. */
  holder: string
  /** Says a sentence to whoever waits. */
  tell: (sentence: string) => void
  signal: AbortSignal
  /** Content that was written since may be part of an image that is still being written: it stays, ms. */
  grace?: number
  /** How long replicas may take to notice, ms. */
  settle?: number
  /** See `LeaseOptions`. */
  term?: number
}

/** What a pruning leaves. */
export interface StoreLeft {
  bytes: number
  entries: number
}

/** Pulls are told to the bucket once a day, so that less cannot be told apart, ms. */
export const shortestUnpulled = 2 * 24 * 3_600_000
const usualGrace = 3_600_000
/** What was checked just before, and what is on its way then. */
const usualSettle = believedFor + nameMs + 5000
/** Clocks that are further apart are told, ms. */
const clockLimit = 60_000
/** Objects that are removed before the next images are judged. */
const enough = 5000

/**
 * Yields an image when it is gone, or would be; returns what is left. Rejects where another one prunes the
 * bucket, and as the store does: what has gone until then is gone whole, or lacks its name.
 */
export async function* pruneStore(
  options: StorePruningOptions,
): AsyncGenerator<Pruned, StoreLeft, undefined> {
  const { store, isDryRun, tell, settle = usualSettle } = options
  await readFormat(store)
  tellClock(store, tell)
  if (isDryRun) return yield* inBucket(options, undefined)
  const onWait = (holder: string, ms: number) =>
    tell(`${holder} prunes this bucket, or died of it: that is known in ${formatDuration(ms)}`)
  const lease = await takeLease(store, { ...options, onWait })
  try {
    tell(`waiting for the replicas to pause, ${formatDuration(settle)}`)
    await wait(settle, undefined, { signal: options.signal })
    return yield* inBucket(options, lease)
  } finally {
    // Where that fails it ends by itself, after its term.
    await lease.release().catch(() => undefined)
  }
}

function tellClock(store: ObjectStore, tell: (sentence: string) => void): void {
  const ahead = store.ahead()
  if (Math.abs(ahead) <= clockLimit) return
  const [amount, way] = [formatDuration(Math.abs(ahead)), ahead > 0 ? 'ahead of' : 'behind']
  tell(`the clock of this machine is ${amount} ${way} that of the store, which counts: set it`)
}

async function* inBucket(
  options: StorePruningOptions,
  lease: Lease | undefined,
): AsyncGenerator<Pruned, StoreLeft, undefined> {
  const { store, dir, signal, filter, grace = usualGrace } = options
  const now = Date.now() - store.ahead()
  const bucket = await readBucket(store, dir, signal)
  const { inventory, condemned } = judge(bucket, now, grace)
  try {
    if (lease === undefined) return yield* plan(inventory, filter)
    const remover = createRemover({ ...options, grace, bucket, lease, now })
    let steps: Pruned[] = []
    const removeNow = async () => {
      await remover.remove(condemned.splice())
      const done = steps
      steps = []
      return done
    }
    for await (const step of inventory.prune(filter)) {
      steps.push(step)
      if (condemned.size() >= enough) yield* await removeNow()
    }
    yield* await removeNow()
    await remover.tidy()
    return inventory.holding()
  } finally {
    bucket.close()
  }
}

async function* plan(
  inventory: Inventory,
  filter: PruneFilter,
): AsyncGenerator<Pruned, StoreLeft, undefined> {
  let { bytes, entries } = inventory.holding()
  for await (const step of inventory.plan(filter)) {
    bytes -= step.bytes
    entries -= step.blobs
    yield step
  }
  return { bytes, entries }
}

/** The rules by which a cache folder is pruned, and what they have taken out of the index of the bucket. */
function judge({ index }: BucketIndex, now: number, grace: number) {
  let condemned: Condemned = { tags: [], links: [], digests: [] }
  const noting: Index = {
    ...index,
    dropTag(place, name) {
      const facts = index.tag(place, name)
      const { upstream, repository } = place
      if (facts !== undefined) condemned.tags.push({ upstream, repository, name, ...facts })
      index.dropTag(place, name)
    },
  }
  const removals = createRemovals({
    store: { takeOut: () => async () => undefined },
    index: () => noting,
    isBusy: (digest) => now - (index.content(digest)?.mtime ?? 0) < grace,
    isArriving: () => false,
    onGone({ links, digests }) {
      for (const link of links) condemned.links.push(link)
      for (const digest of digests) condemned.digests.push(digest)
    },
  })
  const flush = () => undefined
  return {
    inventory: createInventory({ index: () => index, removals, flush, now: () => now }),
    condemned: {
      size: () => condemned.tags.length + condemned.links.length + condemned.digests.length,
      /** All of it, and begins anew. */
      splice(): Condemned {
        const all = condemned
        condemned = { tags: [], links: [], digests: [] }
        return all
      },
    },
  }
}
