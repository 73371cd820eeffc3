// What of the cache is counted and measured.
import { Gauge, type Registry } from 'prom-client'
import type { Condition } from '../cache/cache.ts'
import { tally } from './tally.ts'

export interface CachePart {
  lookup: (result: 'hit' | 'miss') => void
  /** Something happened in the cache that should be rare. */
  event: (event: string) => void
  /** A client was served by a download that another one had started. */
  coalesced: () => void
  /** The number of downloads under way changed. */
  fills: (change: number) => void
  /** Something could not be stored, by the code of the system. */
  storageFailure: (cause: string) => void
  /** An image went to make room. */
  evicted: (bytes: number) => void
  /** Something was passed on without being kept. */
  uncached: (cause: string) => void
  /** Asked at each scrape. */
  condition: (ask: () => Promise<Condition>) => void
}

export function cacheMetrics(registry: Registry): CachePart {
  const lookups = tally(registry, {
    name: 'portcullis_cache_lookups_total',
    help: 'Look-ups of manifests and blobs in the cache: hit or miss.',
    labelNames: ['result'],
  })
  const coalesced = tally(registry, {
    name: 'portcullis_coalesced_clients_total',
    help: 'Clients that were served by a download that another client had started.',
    labelNames: [],
  })
  const fills = new Gauge({
    name: 'portcullis_fills_in_flight',
    help: 'Downloads into the cache that are under way.',
    registers: [registry],
  })
  const events = tally(registry, {
    name: 'portcullis_cache_events_total',
    help: 'What should be rare in the cache: files that are wrong or cannot be read, readers that hold others up, parts fetched past a download, an index made anew.',
    labelNames: ['event'],
  })
  const failures = tally(registry, {
    name: 'portcullis_cache_storage_failures_total',
    help: 'What could not be stored or read on the disk of the cache, by the code of the system.',
    labelNames: ['cause'],
  })
  const results = { hit: lookups('hit'), miss: lookups('miss') }
  const clients = coalesced()
  return {
    event: (event) => void (events(event).total += 1),
    lookup: (result) => void (results[result].total += 1),
    coalesced: () => void (clients.total += 1),
    fills: (change) => fills.inc(change),
    storageFailure: (cause) => void (failures(cause).total += 1),
    ...roomMetrics(registry),
    condition: conditionMetrics(registry),
  }
}

function roomMetrics(registry: Registry): Pick<CachePart, 'evicted' | 'uncached'> {
  const images = tally(registry, {
    name: 'portcullis_cache_evicted_images_total',
    help: 'Images, and contents of no image, that went to make room.',
    labelNames: [],
  })()
  const freed = tally(registry, {
    name: 'portcullis_cache_evicted_bytes_total',
    help: 'Bytes that were freed by that.',
    labelNames: [],
  })()
  const uncached = tally(registry, {
    name: 'portcullis_cache_uncached_total',
    help: 'What was passed on without being kept: too_large beside what is pinned, no_room where nothing may go, no_index while that is made anew.',
    labelNames: ['cause'],
  })
  return {
    evicted(bytes) {
      images.total += 1
      freed.total += bytes
    },
    uncached: (cause) => void (uncached(cause).total += 1),
  }
}

function conditionMetrics(registry: Registry): CachePart['condition'] {
  let ask: (() => Promise<Condition>) | undefined
  let asking: Promise<Condition | undefined> | undefined
  /** Once for all. */
  const condition = async () =>
    (asking ??= Promise.resolve(ask?.()).finally(() => (asking = undefined)))
  const free = new Gauge({
    name: 'portcullis_cache_free_bytes',
    help: 'Bytes of the file system of the cache that are free for it.',
    aggregator: 'first',
    registers: [registry],
    async collect() {
      const { freeBytes } = (await condition()) ?? {}
      if (freeBytes === undefined) free.remove()
      else free.set(freeBytes)
    },
  })
  const sizes: [name: string, help: string, of: 'heldBytes' | 'entries' | 'maxBytes'][] = [
    ['portcullis_cache_bytes', 'Bytes of all content in the cache.', 'heldBytes'],
    ['portcullis_cache_entries', 'Contents in the cache: manifests and blobs.', 'entries'],
    ['portcullis_cache_max_bytes', 'What all content may take (cache.maxBytes).', 'maxBytes'],
  ]
  for (const [name, help, of] of sizes) {
    const gauge: Gauge = new Gauge({
      name,
      help,
      aggregator: 'first',
      registers: [registry],
      collect: async () => gauge.set((await condition())?.[of] ?? 0),
    })
  }
  const degraded: Gauge = new Gauge({
    name: 'portcullis_cache_degraded',
    help: '1 for each part of the cache that does not do all it should: folder cannot be written, index in memory, storing failed within a minute.',
    labelNames: ['part'],
    aggregator: 'max',
    registers: [registry],
    async collect() {
      const parts = (await condition())?.degraded ?? {}
      for (const [part, isDegraded] of Object.entries(parts)) {
        degraded.set({ part }, Number(isDegraded))
      }
    },
  })
  return (asked) => void (ask = asked)
}
