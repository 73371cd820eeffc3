// What is told of a gateway that had many of something, and how it is measured.
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import type { Test } from 'tap'
import { until } from '../e2e/lab/program.ts'
import type { SoakSite } from '../soak/site.ts'

export interface Figure {
  what: string
  value: number
  unit: string
  /** The most that is right; absent where it is only told. */
  limit?: number
}

/** @param scale 1 for as many as the issue of the day wants, less for a try */
export type Scenario = (t: Pick<Test, 'teardown'>, scale: number) => Promise<Figure[]>

const mebibyte = 2 ** 20

export function descriptorsOf({ gateway }: SoakSite): number {
  return readdirSync(`/proc/${gateway.program.pid}/fd`).length
}

/** What starts a gateway whose garbage can be collected from outside. */
export const inspected = ['env', 'NODE_OPTIONS=--inspect=127.0.0.1:0']

/** MiB that its heap and its buffers hold once garbage is gone. */
export async function heldBy({ gateway, adminPort }: SoakSite): Promise<number> {
  await until('its inspector is told', () => /ws:\/\/\S+/.test(gateway.program.output()))
  const socket = new WebSocket(/ws:\/\/\S+/.exec(gateway.program.output())?.[0] ?? '')
  await once(socket, 'open')
  const collected = once(socket, 'message')
  socket.send(JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' }))
  await collected
  socket.close()
  const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text()
  const read = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1])
  const bytes = read('nodejs_heap_size_used_bytes') + read('nodejs_external_memory_bytes')
  return bytes / mebibyte
}

/** How much more is held than `before` by the time that it does not go down any more, MiB. */
export async function growthOf(site: SoakSite, before: number): Promise<number> {
  let least = Infinity
  for (let tries = 0; tries < 5; tries += 1) {
    const held = await heldBy(site)
    if (held >= least) break
    least = held
    await new Promise((resolve) => void setTimeout(resolve, 1000))
  }
  return least - before
}

/** Waits until it has as few descriptors as `before`, or at least so many more; how many more. */
export async function descriptorsMore(
  site: SoakSite,
  before: number,
  allowed: number,
): Promise<number> {
  const isBack = () => descriptorsOf(site) - before <= allowed
  await until('descriptors are back', isBack).catch(() => undefined)
  return descriptorsOf(site) - before
}
