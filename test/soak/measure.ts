// What is measured of a gateway in a soak: from outside where that can be, else from its metrics.
import { readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { SoakSite } from './site.ts'

/** Some seconds of it. */
export interface Sample {
  /** Since the beginning, minutes. */
  at: number
  /** MiB, resident; and what the heap and its buffers hold. */
  resident: number
  held: number
  descriptors: number
  /** The 99th percentile, ms. */
  lag: number
  /** Of a manifest in memory, over a connection that is open; each ms. */
  latencies: number[]
}

const sampleEvery = 5000
const probeEvery = 25
const mebibyte = 2 ** 20

/** Until told to stop; also ends where the gateway does. */
export async function measure(site: SoakSite, over: AbortSignal): Promise<Sample[]> {
  const samples: Sample[] = []
  const latencies: number[] = []
  const started = performance.now()
  const probing = probe(site, latencies, over)
  while (!over.aborted) {
    await delay(sampleEvery, undefined, { signal: over }).catch(() => undefined)
    if (over.aborted) break
    const read = await metricsOf(site).catch(() => undefined)
    if (read === undefined) continue
    samples.push({
      at: (performance.now() - started) / 60_000,
      resident: site.gateway.memory() / mebibyte,
      held:
        (Number(read.get('nodejs_heap_size_used_bytes')) +
          Number(read.get('nodejs_external_memory_bytes'))) /
        mebibyte,
      descriptors: readdirSync(`/proc/${site.gateway.program.pid}/fd`).length,
      lag: Number(read.get('nodejs_eventloop_lag_p99_seconds')) * 1000,
      latencies: latencies.splice(0),
    })
  }
  await probing
  return samples
}

async function probe(site: SoakSite, latencies: number[], over: AbortSignal): Promise<void> {
  const [digest] = site.image.manifests.keys()
  let agent = site.connect()
  while (!over.aborted) {
    const before = performance.now()
    try {
      const response = await site.open(agent, `/v2/app/manifests/${digest}`)
      await response.toArray()
      if (response.statusCode === 200) latencies.push(performance.now() - before)
    } catch {
      agent.destroy()
      agent = site.connect()
    }
    await delay(probeEvery)
  }
  agent.destroy()
}

/** Those without labels, by name. */
async function metricsOf({ adminPort }: SoakSite): Promise<Map<string, string>> {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/metrics`)
  const text = await answer.text()
  return new Map(
    [...text.matchAll(/^(\w+) (\S+)$/gm)].map(([, name = '', value = '']) => [name, value]),
  )
}
