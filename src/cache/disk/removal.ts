// Takes stored files out of the way that are wrong or cannot be read: told, counted, and forgotten.
import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { Digest } from '../../oci/digest.ts'
import type { CacheEvent } from '../cache.ts'
import type { Memory } from '../memory.ts'
import type { Store } from '../store.ts'

/** Neither rejects: what cannot be moved stays, but is not served. */
export interface Removal {
  /** It does not hash to its name. */
  quarantine: (digest: Digest) => Promise<void>
  /** The file system cannot read it, and says so. */
  setAside: (digest: Digest, error: unknown) => Promise<void>
}

export interface RemovalOptions {
  store: Store
  memory: Memory
  log: Logger
  onEvent: (event: CacheEvent) => void
}

/** What stays is told once in so many ms. */
const tellEvery = 60_000

export function createRemoval({ store, memory, log, onEvent }: RemovalOptions): Removal {
  const told = new LRUCache<Digest, true>({ max: 1000, ttl: tellEvery })

  async function remove(digest: Digest, facts: object, what: string): Promise<void> {
    const isNew = !told.has(digest)
    told.set(digest, true)
    if (isNew) log.warn({ digest, ...facts }, what)
    memory.forget(digest)
    await store.quarantine(digest).catch((error: unknown) => {
      if (!isNew) return
      log.warn({ digest, err: error }, 'it cannot be moved: it stays, but is not served')
    })
  }

  return {
    async quarantine(digest) {
      onEvent('wrong_file')
      const what = 'a cached file does not hash to its name: quarantined, and fetched again'
      await remove(digest, {}, what)
    },
    async setAside(digest, error) {
      onEvent('unreadable_file')
      const what = 'a cached file cannot be read: set aside, and fetched again'
      await remove(digest, { err: error }, what)
    },
  }
}
