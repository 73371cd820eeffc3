// How many workers there are, how many there should be, and how many have ended.
import { Counter, Gauge, type Registry } from 'prom-client'
import type { CrewState } from './crew.ts'

export interface CrewPart {
  /** Asked at each scrape; undefined: there are no workers, or it is not known yet. */
  crew: (ask: () => CrewState | undefined) => void
}

/** A gateway that is one process is a worker of its own. */
const alone: CrewState = { workers: [{ isServing: true, ends: [] }], ends: 0 }

export function crewMetrics(registry: Registry): CrewPart {
  let ask: () => CrewState | undefined = () => undefined
  // All workers know the same of all of them: it is no sum.
  const common = { registers: [registry], aggregator: 'first' as const }
  const configured: Gauge = new Gauge({
    ...common,
    name: 'portcullis_workers_configured',
    help: 'Processes that are to serve (workers).',
    collect: () => configured.set((ask() ?? alone).workers.length),
  })
  const serving: Gauge = new Gauge({
    ...common,
    name: 'portcullis_workers_serving',
    help: 'Those of them that do.',
    collect: () =>
      serving.set((ask() ?? alone).workers.filter(({ isServing }) => isServing).length),
  })
  const ends: Counter = new Counter({
    ...common,
    name: 'portcullis_worker_ends_total',
    help: 'Workers that have ended without being told to, or could not be started.',
    collect() {
      ends.reset()
      ends.inc((ask() ?? alone).ends)
    },
  })
  return { crew: (next) => void (ask = next) }
}
