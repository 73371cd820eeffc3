// What goes wrong while clients pull: replicas are killed, and the store that they share is stopped,
// slowed, and answers 503.
import { globSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../../src/oci/digest.ts'
import type { TestObjectStore } from '../../helpers/object-store.ts'
import { fetchesIn, type Fetch } from './fetches.ts'
import type { Region, Replica } from './region.ts'

export interface Kill {
  /** The numbers of requests that nginx had answered at the kill, and half a second after the replica was back. */
  from: number
  to: number
  /** What it was fetching, and nobody had. */
  fetching: ReadonlySet<Digest>
  /** What its disk had, and no other one, nor the store. */
  alone: ReadonlySet<Digest>
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
  const { replicas } = region
  const kills: Kill[] = []
  if (killEvery === 0) return kills
  for (let turn = 0; !over.aborted; turn += 1) {
    await pause(killEvery, over)
    const replica = replicas[turn % replicas.length]
    if (over.aborted || replica === undefined) break
    kills.push(await kill(region, replica))
  }
  return kills
}

/** Kills it, and starts it again after a second. */
async function kill({ replicas, lab, store, before }: Region, replica: Replica): Promise<Kill> {
  const from = (await lab.nginx.requests()).length
  await replica.gateway.program.stop('SIGKILL')
  const own = contentIn([replica.dir])
  const others = contentIn(replicas.filter((other) => other !== replica).map(({ dir }) => dir))
  for (const digest of store === undefined ? [] : await namesIn(store)) others.add(digest)
  await delay(1000)
  // What it was fetching when it was killed is in the log by now.
  const fetched = fetchesIn((await lab.nginx.requests()).slice(before))
  const isIts = ({ client }: Fetch) => client.includes(replica.name)
  const fetching = fetched.filter(isIts).map(({ digest }) => digest)
  await replica.start()
  // What was asked before it was back is answered within that time.
  await delay(500)
  return {
    from,
    to: (await lab.nginx.requests()).length,
    fetching: new Set(fetching.filter((digest) => !own.has(digest) && !others.has(digest))),
    alone: new Set([...own].filter((digest) => !others.has(digest))),
  }
}

/** What is whole in the folders of caches. */
function contentIn(folders: readonly string[]): Set<Digest> {
  const files = folders.flatMap((folder) => globSync(join(folder, 'blobs/sha256/*/*')))
  return new Set(files.map(digestOfFile))
}

/** What a replica gets from a store now: content is written before what names it, and found by that. */
async function namesIn({ objects }: TestObjectStore): Promise<Digest[]> {
  try {
    const keys = await objects.keys('repositories/')
    return keys.filter((key) => /_(blobs|manifests)\/sha256\/[^/]+$/.test(key)).map(digestOfFile)
  } catch {
    // It is stopped.
    return []
  }
}

function digestOfFile(file: string): Digest {
  return `sha256:${basename(file)}`
}
