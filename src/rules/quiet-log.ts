// Keeps a log quiet: the same thing is told once a minute, with how often it was left out meanwhile.
import { LRUCache } from 'lru-cache'

const quietMs = 60_000
/** Things remembered at once; beyond that lines may repeat, memory does not grow. */
const remembered = 1000

/**
 * How often the thing called `key` was left out since it was last told; undefined where it is to be
 * left out now. `now` is in milliseconds.
 */
export type QuietLog = (key: string) => number | undefined

export function createQuietLog(now: () => number = Date.now): QuietLog {
  const seen = new LRUCache<string, { until: number; leftOut: number }>({ max: remembered })
  return (key) => {
    const entry = seen.get(key)
    if (entry !== undefined && now() < entry.until) {
      entry.leftOut += 1
      return undefined
    }
    seen.set(key, { until: now() + quietMs, leftOut: 0 })
    return entry?.leftOut ?? 0
  }
}
