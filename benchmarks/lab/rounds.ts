// Rounds in which everybody does the same work in turn, A B A B: what disturbs one disturbs all.
import { setTimeout as delay } from 'node:timers/promises'
import { cpuSeconds } from './cpu.ts'
import type { Server } from './server.ts'

export interface Bounds {
  /** Rounds that count. */
  rounds: number
  /** No other round is begun after that. */
  seconds: number
}

/** The figures of one server, a figure for each round. */
export type Series = Map<Server, number[]>

/**
 * Measures each server in turn, after one round that does not count (compilation, caches, the
 * first growth of heaps).
 */
export async function inTurn(
  servers: readonly Server[],
  measure: (server: Server, round: number) => Promise<number>,
  { rounds, seconds }: Bounds,
): Promise<Series> {
  const series: Series = new Map(servers.map((server) => [server, []]))
  for (const server of servers) await measure(server, 0)
  const end = performance.now() + seconds * 1000
  for (let round = 1; round <= rounds && (round === 1 || performance.now() < end); round += 1) {
    for (const server of servers) series.get(server)?.push(await measure(server, round))
  }
  return series
}

/** CPU seconds that `server` spends on the work, and on what it leaves to be done after it. */
export async function cpuOf(
  server: Pick<Server, 'pid'>,
  work: () => Promise<unknown>,
): Promise<number> {
  return cpuOfAll([server], work)
}

/** The same for several, which do it together. */
export async function cpuOfAll(
  servers: readonly Pick<Server, 'pid'>[],
  work: () => Promise<unknown>,
): Promise<number> {
  const used = () => servers.reduce((sum, { pid }) => sum + cpuSeconds(pid), 0)
  const before = used()
  await work()
  let after = used()
  for (let previous = -1; after - previous >= 0.02;) {
    previous = after
    await delay(200)
    after = used()
  }
  return after - before
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const [low, high] = [sorted[middle - 1], sorted[middle]]
  if (high === undefined) throw new Error('there is no median of nothing')
  return sorted.length % 2 === 1 || low === undefined ? high : (low + high) / 2
}
