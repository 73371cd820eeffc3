// Keeps lists in memory while they are as fresh as a tag may be, within a number of bytes.
import { LRUCache } from 'lru-cache'

/** Of all lists of a kind together, bytes. */
const most = 16 * 2 ** 20

export interface ListMemory<T> {
  /** undefined: unknown, or older than `ttl`, in ms. */
  fresh: (key: string, ttl: number) => readonly T[] | undefined
  /** `bytes`: as long as it was on its way here. */
  keep: (key: string, entries: readonly T[], bytes: number) => void
}

export function createListMemory<T>(now: () => number): ListMemory<T> {
  const lists = new LRUCache<string, { at: number; entries: readonly T[]; bytes: number }>({
    maxSize: most,
    // What is parsed takes about three times as much as its text.
    sizeCalculation: ({ bytes }, key) => 3 * bytes + 2 * key.length + 256,
  })
  return {
    fresh(key, ttl) {
      const known = lists.get(key)
      if (known === undefined) return undefined
      const age = now() - known.at
      return age >= 0 && age < ttl ? known.entries : undefined
    },
    keep: (key, entries, bytes) => void lists.set(key, { at: now(), entries, bytes }),
  }
}
