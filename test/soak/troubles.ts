// What goes wrong during a soak: the upstream, the files of the cache; and reloads.
import { randomInt } from 'node:crypto'
import { closeSync, globSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import * as faults from '../helpers/upstream.ts'
import type { SoakSite } from './site.ts'

/** How long an upstream fails, and for how long it does not, ms. */
const [ill, well] = [3000, 7000]
const reloadEvery = 15_000
const damageEvery = 10_000

const upstreamFaults: readonly (() => faults.Fault)[] = [
  () => faults.status(500),
  () => faults.status(429, { 'retry-after': '1' }),
  () => faults.stallBeforeHeaders(),
  () => faults.stallAfter(1000),
  () => faults.closeAfter(1000),
  () => faults.resetAfter(1000),
  () => faults.flipByte(100),
  () => faults.lyingLength((length) => length - 1),
  () => faults.htmlPage(),
]

const damages: readonly ((file: string) => void)[] = [
  (file) => rmSync(file),
  (file) => truncateSync(file, 10),
  (file) => {
    const fd = openSync(file, 'r+')
    writeSync(fd, 'damage', 5)
    closeSync(fd)
  },
]

/** Resolves once it is over. */
export async function startTroubles(site: SoakSite, over: AbortSignal): Promise<void> {
  const { upstream, gateway, renew, dir } = site
  await Promise.all([
    every(ill + well, over, async () => {
      upstream.fail(pick(upstreamFaults)())
      await pause(ill, over)
      upstream.fail()
      // Its memory is not what is measured.
      upstream.requests.length = 0
    }),
    every(reloadEvery, over, async () => {
      await renew()
      process.kill(gateway.program.pid, 'SIGHUP')
    }),
    every(damageEvery, over, async () => {
      const files = globSync(join(dir, 'blobs/*/*/*'))
      if (files.length > 0) tryTo(() => pick(damages)(pick(files)))
    }),
  ])
}

/** The first time once there was time to fill the cache. */
async function every(ms: number, over: AbortSignal, act: () => Promise<void>): Promise<void> {
  await pause(ms, over)
  while (!over.aborted) {
    const started = Date.now()
    await act()
    await pause(ms - (Date.now() - started), over)
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined)
}

function tryTo(act: () => void): void {
  try {
    act()
  } catch {
    // The gateway was faster.
  }
}

function pick<T>(all: readonly T[]): T {
  const found = all[randomInt(all.length)]
  if (found === undefined) throw new Error('there is none')
  return found
}
