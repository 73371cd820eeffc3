// How many workers there may be, and what each of them may have of what is for all.
import { availableParallelism } from 'node:os'
import type { TellAt } from '../draft.ts'
import type { Config } from '../schema.ts'

/** More than so many for each core only cost memory. */
const mostPerCore = 4

export function checkWorkers(
  { workers: count, cache, audit }: Pick<Config, 'workers' | 'cache' | 'audit'>,
  tell: TellAt,
): void {
  if (count === 1) return
  const most = mostPerCore * availableParallelism()
  if (count > most) {
    tell(['workers'], `is more than ${most}, ${mostPerCore} for each core of this machine`)
  }
  // Others share ports as well: but nobody has tried that, nor how they name sockets.
  if (process.platform !== 'linux') {
    tell(['workers'], `needs Linux, where processes share a port; ${process.platform} has 1`)
  }
  if (cache.shared !== undefined) {
    tell(['workers'], 'cannot be more than 1 beside cache.shared: one process writes to that store')
  }
  if (audit.file?.startsWith('/dev/fd/') === true) {
    tell(['workers'], 'cannot be more than 1 while audit.file is a descriptor: name a file')
  }
}

/** What it comes to; for whoever checks a config. */
export function workerNotes(count: number): string[] {
  if (count === 1) return []
  const cores = availableParallelism()
  const most =
    count > cores ? `; more than the ${cores} cores of this machine only cost memory` : ''
  return [
    `workers: ${count} processes share ports and cache folder; memoryBytes, maxRate, connections, handshakes and upstreamRequests are divided among them, other limits count within each${most}`,
  ]
}

/** What one of `count` workers goes by, so that together they keep to the config. */
export function forOneOf(count: number, config: Config): Config {
  const part = (whole: number) => Math.ceil(whole / count)
  const { limits } = config.listen
  const upstreams = Object.entries(config.upstreams).map(
    ([name, { maxRate, ...upstream }]) =>
      [
        name,
        maxRate === undefined ? upstream : { ...upstream, maxRate: sharedRate(maxRate) },
      ] as const,
  )

  function sharedRate(rate: NonNullable<Config['upstreams'][string]['maxRate']>): typeof rate {
    if (typeof rate === 'number') return part(rate)
    return Object.fromEntries(Object.entries(rate).map(([hours, one]) => [hours, part(one)]))
  }

  return {
    ...config,
    cache: { ...config.cache, memoryBytes: part(config.cache.memoryBytes) },
    listen: {
      ...config.listen,
      limits: {
        ...limits,
        connections: part(limits.connections),
        handshakes: part(limits.handshakes),
        upstreamRequests: part(limits.upstreamRequests),
      },
    },
    upstreams: Object.fromEntries(upstreams),
  }
}
