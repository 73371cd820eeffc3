// What goes wrong while clients pull: replicas are killed, and the store that they share is stopped,
// slowed, and answers 503.
import { setTimeout as delay } from 'node:timers/promises'
import type { TestObjectStore } from '../../helpers/object-store.ts'
import type { Region } from './region.ts'

/** The number of requests that nginx had answered a second before a kill, and when its replica was back. */
export interface Kill {
  from: number
  to: number
}

interface TroubleOptions {
  region: Region
  /** How often a replica is killed, ms; 0: none is. */
  killEvery: number
  /** Whether the store is stopped, slowed, and answers 503. */
  ails: boolean
  seconds: number
  /** The pulls are over. */
  over: AbortSignal
}

const slow = 100 * 1024

export async function makeTrouble(options: TroubleOptions): Promise<Kill[]> {
  const { store } = options.region
  const [kills] = await Promise.all([
    killAround(options),
    store === undefined || !options.ails ? undefined : ailStore(store, options),
  ])
  return kills
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined)
}

/** Of two minutes it is stopped for half a minute. */
async function ailStore(store: TestObjectStore, { seconds, over }: TroubleOptions): Promise<void> {
  const share = async (part: number) => pause(part * seconds * 1000, over)
  await share(0.1)
  await store.stop()
  await share(0.25)
  await store.start()
  await share(0.1)
  store.way(slow)
  await share(0.2)
  store.way('open')
  await share(0.1)
  store.way('unavailable')
  await share(0.15)
  store.way('open')
}

async function killAround({ region, killEvery, over }: TroubleOptions): Promise<Kill[]> {
  const { replicas, lab } = region
  const kills: Kill[] = []
  const answered = async () => (await lab.nginx.requests()).length
  if (killEvery === 0) return kills
  for (let turn = 0; !over.aborted; turn += 1) {
    await pause(killEvery - 1000, over)
    const from = await answered()
    await pause(1000, over)
    const replica = replicas[turn % replicas.length]
    if (over.aborted || replica === undefined) break
    await replica.gateway.program.stop('SIGKILL')
    await delay(1000)
    await replica.start()
    kills.push({ from, to: await answered() })
  }
  return kills
}
