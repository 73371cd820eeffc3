// Stores what is in memory as a whole; what finds no room now is tried again.
import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'
import type { Small } from '../cache.ts'
import type { Memory } from '../memory.ts'
import type { Room } from '../room/room.ts'
import type { Store } from '../store.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import type { StorageProblems } from '../storage-problems.ts'

export interface SmallStore {
  /** Never rejects. */
  put: (small: Small) => Promise<void>
  /** It has been put, and it is not known yet whether it can be stored. */
  isArriving: (digest: Digest) => boolean
  /** It could not be stored: memory serves it, and would for ever, so nobody else would try again. */
  keep: (small: Small) => void
  /** Tries again, until something fails. */
  retry: () => Promise<void>
}

export interface SmallStoreOptions {
  store: Store
  index: TolerantIndex
  memory: Memory
  storageProblems: StorageProblems
  room: Pick<Room, 'reserve'>
}

/** What waits, at most. */
const maxBytes = 32 * 1024 * 1024

export function createSmallStore({
  store,
  index,
  memory,
  storageProblems,
  room,
}: SmallStoreOptions): SmallStore {
  const waiting = new LRUCache<Digest, Small>({
    maxSize: maxBytes,
    sizeCalculation: ({ bytes }) => bytes.length + 512,
  })

  const arriving = new Set<Digest>()

  /** Whether there was room. */
  async function write({ digest, mediaType, bytes }: Small): Promise<boolean> {
    const isThere = (await store.size(digest)) !== undefined
    if (isThere && index.content(digest)?.mediaType === mediaType) return true
    const reservation = await room.reserve(bytes.length)
    if (reservation === undefined) return false
    try {
      await create(digest, mediaType, bytes)
    } finally {
      reservation.release()
    }
    return true
  }

  async function create(digest: Digest, mediaType: string, bytes: Buffer): Promise<void> {
    const writer = await store.create(digest)
    try {
      await writer.append(bytes)
      memory.stored(digest, { mediaType, ...(await writer.commit()) })
    } finally {
      await writer.abort()
    }
  }

  /** Whether it is stored now. */
  async function tried(small: Small): Promise<boolean> {
    try {
      const isStored = await write(small)
      if (isStored) waiting.delete(small.digest)
      else waiting.set(small.digest, small)
      return isStored
    } catch (error) {
      storageProblems.note(error, 'storing a manifest or a small blob')
      waiting.set(small.digest, small)
      return false
    }
  }

  return {
    async put(small) {
      arriving.add(small.digest)
      await tried(small)
      arriving.delete(small.digest)
    },
    isArriving: (digest) => arriving.has(digest),
    keep: (small) => void waiting.set(small.digest, small),
    async retry() {
      const smalls = [...waiting.values()]
      for (const small of smalls) {
        if (!(await tried(small))) return
      }
    },
  }
}
