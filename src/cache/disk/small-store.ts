// Stores what is in memory as a whole; what finds no room now is tried again.
import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'
import type { Small } from '../cache.ts'
import type { Memory } from '../memory.ts'
import type { Store } from '../store.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import type { StorageProblems } from '../storage-problems.ts'

export interface SmallStore {
  /** Never rejects. */
  put: (small: Small) => Promise<void>
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
}

/** What waits, at most. */
const maxBytes = 32 * 1024 * 1024

export function createSmallStore({
  store,
  index,
  memory,
  storageProblems,
}: SmallStoreOptions): SmallStore {
  const waiting = new LRUCache<Digest, Small>({
    maxSize: maxBytes,
    sizeCalculation: ({ bytes }) => bytes.length + 512,
  })

  async function write({ digest, mediaType, bytes }: Small): Promise<void> {
    const isThere = (await store.size(digest)) !== undefined
    if (isThere && index.content(digest)?.mediaType === mediaType) return
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
      await write(small)
      waiting.delete(small.digest)
      return true
    } catch (error) {
      storageProblems.note(error, 'storing a manifest or a small blob')
      waiting.set(small.digest, small)
      return false
    }
  }

  return {
    put: async (small) => void (await tried(small)),
    keep: (small) => void waiting.set(small.digest, small),
    async retry() {
      const smalls = [...waiting.values()]
      for (const small of smalls) {
        if (!(await tried(small))) return
      }
    },
  }
}
