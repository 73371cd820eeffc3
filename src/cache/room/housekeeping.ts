// Puts together what a running cache does with its room, and what others do with what it holds.
import type { Logger } from 'pino'
import type { Digest } from '../../oci/digest.ts'
import type { Disk } from '../disk/open-files.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import type { Memory } from '../memory.ts'
import type { StorageProblems } from '../storage-problems.ts'
import type { Store } from '../store.ts'
import { createInventory, type Inventory } from './inventory.ts'
import { freeBytesOf, type RoomLimits } from './limits.ts'
import { createRemovals } from './removals.ts'
import { createRoom, type Room, type RoomMetrics } from './room.ts'

export interface HousekeepingOptions {
  dir: string
  limits: RoomLimits
  store: Store
  index: TolerantIndex
  memory: Memory
  disk: Disk
  /** It is being downloaded, or somebody reads what was. */
  isFilling: (digest: Digest) => boolean
  /** A manifest that is being stored. */
  isArriving: (digest: Digest) => boolean
  storageProblems: StorageProblems
  log: Logger
  metrics: RoomMetrics
  now: () => number
}

export function createHousekeeping(options: HousekeepingOptions): {
  room: Room
  inventory: Inventory
} {
  const { dir, store, index, memory, disk, isFilling, isArriving, log, now } = options
  const { current } = index
  const { flush } = memory
  const removals = createRemovals({
    store,
    index: current,
    isBusy: (digest) => disk.isRead(digest) || isFilling(digest),
    isArriving,
    onGone(gone) {
      memory.removed(gone)
      gone.digests.forEach(disk.release)
    },
  })
  const room = createRoom({
    ...options,
    index: current,
    removals,
    freeBytes: () => freeBytesOf(dir),
    flush,
  })
  for (const problem of room.problems()) log.warn(problem)
  return { room, inventory: createInventory({ index: current, removals, flush, now }) }
}
