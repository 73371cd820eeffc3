// What the parts of the cache share.
import type { Logger } from 'pino'
import type { GatewayError } from '../errors.ts'
import type { CacheEvent, Small } from './cache.ts'
import type { OpenUpstream } from '../oci/origin.ts'
import type { Disk } from './disk/open-files.ts'
import type { Heads } from './heads.ts'
import type { Memory } from './memory.ts'
import type { NegativeAnswers } from './freshness/negative-answers.ts'
import type { createTagTtls } from './freshness/tag-ttl.ts'
import type { Freshness, Outages } from './outage.ts'
import type { SmallStore } from './disk/small-store.ts'
import type { SharedTier } from './shared/tier.ts'
import type { Room, RoomMetrics } from './room/room.ts'
import type { Store } from './store.ts'
import type { TolerantIndex } from './index/tolerant-index.ts'
import type { StorageProblems } from './storage-problems.ts'

export interface CacheMetrics extends RoomMetrics {
  event: (event: CacheEvent) => void
  lookup: (result: 'hit' | 'miss') => void
  /** A client was served by a download that another one had started. */
  coalesced: () => void
  /** The number of downloads under way changed. */
  fills: (change: number) => void
  /** Something could not be stored: the system's code, such as `ENOSPC`, or `damaged`. */
  storageFailure: (cause: string) => void
  /** The shared store was asked: `ok`, or the reason why that failed. */
  sharedRequest: (part: 'read' | 'write', result: string) => void
}

/** For whoever counts nothing. */
export const uncounted: CacheMetrics = {
  event: () => undefined,
  lookup: () => undefined,
  coalesced: () => undefined,
  fills: () => undefined,
  storageFailure: () => undefined,
  sharedRequest: () => undefined,
  evicted: () => undefined,
  uncached: () => undefined,
}

export interface Context {
  store: Store
  index: TolerantIndex
  memory: Memory
  disk: Disk
  smallStore: SmallStore
  /** What replicas share, where that is configured. */
  shared: SharedTier | undefined
  room: Room
  /** Manifests in memory whose media type is by their own bytes. */
  typed: WeakSet<Small>
  outages: Outages
  heads: Heads
  storageProblems: StorageProblems
  log: Logger
  metrics: CacheMetrics
  openUpstream: OpenUpstream
  freshnessOf: (upstream: string) => Freshness
  isQuotaShort: (upstream: string) => boolean
  tagTtls: ReturnType<typeof createTagTtls>
  negatives: NegativeAnswers
  /** See `createOutages`. */
  report: (upstream: string, error: GatewayError) => void
  now: () => number
  /** Work that no client waits for, but the end of the process does. */
  background: (work: Promise<void>) => void
}
