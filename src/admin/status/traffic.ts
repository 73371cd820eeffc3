// What was served and fetched over the last hour, for plots: read from the metrics now and then.
import type { Registry } from 'prom-client'

/** Totals since the start of the gateway. */
export interface TrafficSample {
  /** ms since 1970. */
  at: number
  /** Bytes of body sent to clients. */
  served: number
  /** Bytes of content that came from upstreams. */
  fetched: number
  hits: number
  misses: number
}

export interface Traffic {
  /** One for each ten seconds, the oldest first. */
  samples: () => readonly TrafficSample[]
  close: () => void
}

const every = 10_000
const most = 360

export function createTraffic(counted: () => Promise<Registry>): Traffic {
  const kept: TrafficSample[] = []

  async function total(registry: Registry, name: string, result?: string): Promise<number> {
    const { values = [] } = (await registry.getSingleMetric(name)?.get()) ?? {}
    return values
      .filter(({ labels }) => result === undefined || labels['result'] === result)
      .reduce((sum, { value }) => sum + value, 0)
  }

  async function read(): Promise<TrafficSample> {
    const registry = await counted()
    return {
      at: Date.now(),
      served: await total(registry, 'portcullis_response_bytes_total'),
      fetched: await total(registry, 'portcullis_upstream_received_bytes_total'),
      hits: await total(registry, 'portcullis_cache_lookups_total', 'hit'),
      misses: await total(registry, 'portcullis_cache_lookups_total', 'miss'),
    }
  }

  async function keep(): Promise<void> {
    kept.push(await read())
    if (kept.length > most) kept.shift()
  }

  void keep()
  const timer = setInterval(() => void keep(), every).unref()
  return {
    samples: () => kept,
    close: () => clearInterval(timer),
  }
}
