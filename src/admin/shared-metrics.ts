// What is asked of the store that replicas share, and what waits to be written there.
import { Gauge, type Registry } from 'prom-client'
import { tally } from './tally.ts'

export interface SharedPart {
  /** See `CacheMetrics`. */
  sharedRequest: (part: 'read' | 'write', result: string) => void
  /** Asked at each scrape. */
  sharedWaiting: (ask: () => number) => void
}

export function sharedMetrics(registry: Registry): SharedPart {
  let ask: (() => number) | undefined
  const requests = tally(registry, {
    name: 'portcullis_shared_requests_total',
    help: 'What was asked of the shared store, by result: ok, damaged, or the reason of a failure.',
    labelNames: ['part', 'result'],
  })
  const waiting: Gauge = new Gauge({
    name: 'portcullis_shared_waiting_objects',
    help: 'Objects that wait to be written to the shared store; 0 without one.',
    registers: [registry],
    collect: () => waiting.set(ask?.() ?? 0),
  })
  return {
    sharedRequest: (part, result) => void (requests(part, result).total += 1),
    sharedWaiting: (next) => void (ask = next),
  }
}
