// Fetches the blobs of manifests that clients have pulled, in the background: an image that was started
// once is whole before the link dies.
import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { Cache } from '../cache/cache.ts'
import { messageOf } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Place } from '../oci/place.ts'

/** Nothing, the blobs of a manifest that was pulled, or also all that an index lists. */
export type PrefetchMode = 'none' | 'platform' | 'all'

export interface PrefetchOptions {
  cache: Cache
  modeOf: (upstream: string) => PrefetchMode
  log: Logger
}

export interface Prefetch {
  /** A client has got this manifest. */
  note: (place: Place, digest: Digest) => void
  /** Begins nothing more; what is under way ends with the cache. */
  stop: () => void
}

/** What waits for its turn at one upstream; of more, the oldest is forgotten. */
const mostWaiting = 1000
/** A manifest that is pulled again and again is looked at once in so many ms. */
const lookEvery = 600_000

/** One image at a time of each upstream, and whatever a client waits for before it. */
export function createPrefetch({ cache, modeOf, log }: PrefetchOptions): Prefetch {
  const seen = new LRUCache<string, true>({ max: 10_000, ttl: lookEvery })
  const queues = new Map<string, Map<string, () => Promise<void>>>()
  let isStopped = false

  async function fetch(place: Place, digest: Digest, key: string): Promise<void> {
    let bytes = 0
    try {
      const { content } = await cache.manifest(place, digest)
      const { indexTypes } = await import('./archive/oci-graph.ts')
      const { pullBlobs } = await import('./preload.ts')
      const { createWalk } = await import('./upstream-image.ts')
      const walk = createWalk(cache, place)
      const isIndex = indexTypes.includes(content.mediaType)
      if (isIndex && modeOf(place.upstream) !== 'all') return
      await walk.add(content, 'all')
      const onFetched = (_digest: Digest, fetched: number) => void (bytes += fetched)
      await pullBlobs(cache, place, [...walk.blobs.values()], { onFetched })
    } catch (error) {
      seen.delete(key)
      if (!isStopped) log.info({ image: key, problem: messageOf(error) }, 'prefetch broke off')
    }
    if (bytes > 0) log.info({ image: key, bytes }, 'prefetched')
  }

  async function work(upstream: string, queue: Map<string, () => Promise<void>>): Promise<void> {
    for (const [key, begin] of queue) {
      queue.delete(key)
      if (isStopped) return
      await begin()
    }
    queues.delete(upstream)
  }

  return {
    note({ upstream, repository }, digest) {
      if (modeOf(upstream) === 'none' || isStopped) return
      const key = `${upstream}/${repository}@${digest}`
      if (seen.has(key)) return
      seen.set(key, true)
      const place = { upstream, repository, isBackground: true }
      const begin = async () => fetch(place, digest, key)
      const queue = queues.get(upstream)
      if (queue === undefined) {
        const first = new Map([[key, begin]])
        queues.set(upstream, first)
        void work(upstream, first)
        return
      }
      queue.set(key, begin)
      const [oldest] = queue.size > mostWaiting ? queue.keys() : []
      if (oldest === undefined) return
      queue.delete(oldest)
      seen.delete(oldest)
    },
    stop: () => void (isStopped = true),
  }
}
