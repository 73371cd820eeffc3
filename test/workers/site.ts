// A gateway of several workers as its users run it, in front of an upstream that can be slow.
import { Agent, get, type IncomingMessage } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import type { Test } from 'tap'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { startConfigured, writeConfig, type Gateway, type LogLine } from '../e2e/lab/gateway.ts'
import { until } from '../e2e/lab/program.ts'
import { startUpstream, type Fault, type Upstream } from '../helpers/upstream.ts'

export const upstreamName = 'registry.test'

export interface WorkersSite {
  gateway: Gateway
  upstream: Upstream
  /** The path of the config file. */
  file: string
  adminPort: number
  /** Process ids, by the numbers of the workers: those that serve now. */
  pids: () => number[]
  metrics: () => Promise<string>
}

interface WorkersOptions {
  image: SampleContent
  workers?: number
  faults?: Fault[]
  /** Further sections. */
  more?: Record<string, unknown>
}

export async function startWorkers(t: Test, options: WorkersOptions): Promise<WorkersSite> {
  const { image, workers = 2, faults = [], more = {} } = options
  const upstream = await startUpstream(t, { repositories: { app: image }, faults })
  const file = writeConfig(t, {
    workers,
    listen: { host: '127.0.0.1', port: 0, insecureHttp: true },
    admin: { port: 0 },
    upstreams: { [upstreamName]: { url: upstream.url } },
    ...more,
  })
  const gateway = await startConfigured(t, file)
  const all = await gateway.logged('that all serve', ({ msg }) => msg === 'all workers serve')
  const adminPort = Number(all['adminPort'])
  return {
    gateway,
    upstream,
    file,
    adminPort,
    pids: () => servingPids(gateway.log()),
    metrics: async () => (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text(),
  }
}

/** Those that listen, without those that have ended. */
function servingPids(lines: readonly LogLine[]): number[] {
  const begun = lines.filter(({ msg }) => msg === 'listening').map(({ pid }) => Number(pid))
  const gone = lines.filter(({ msg }) => msg === 'a worker has ended')
  const isGone = (pid: number) => gone.some((line) => line['pid'] === pid && 'worker' in line)
  return begun.filter((pid) => !isGone(pid))
}

/** Slows every body down: `pieces` of it, each after `pause` ms. */
export function slowly(pause: number): Fault {
  return (_req, res) => {
    const write = res.write.bind(res)
    const end = res.end.bind(res)
    let waits = Promise.resolve()
    res.write = ((chunk: Buffer) => {
      waits = waits.then(async () => {
        await setTimeout(pause)
        write(chunk)
      })
      return true
    }) as typeof res.write
    res.end = ((chunk?: Buffer) => {
      if (chunk !== undefined) res.write(chunk)
      void waits.then(() => end())
      return res
    }) as typeof res.end
    return false
  }
}

export function blobPath(digest: string): string {
  return `/v2/app/blobs/${digest}?ns=${upstreamName}`
}

/** Over a connection of its own, so that any worker may get it. */
async function ask(port: number, path: string, from: number): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = from === 0 ? {} : { range: `bytes=${from}-` }
    get({ port, path, headers, agent: new Agent() }, resolve).on('error', reject)
  })
}

/**
 * Downloads as engines do: where the connection breaks, the rest is asked for again. Resolves to what
 * all of it hashes to.
 */
export async function download(
  port: number,
  path: string,
): Promise<{ digest: string; tries: number }> {
  const chunks: Buffer[] = []
  const length = () => chunks.reduce((sum, chunk) => sum + chunk.length, 0)
  for (let tries = 1; ; tries += 1) {
    try {
      const response = await ask(port, path, length())
      if (response.statusCode !== 200 && response.statusCode !== 206) {
        throw new Error(`status ${response.statusCode}`)
      }
      for await (const chunk of response) chunks.push(chunk as Buffer)
      return { digest: digestOf(Buffer.concat(chunks)), tries }
    } catch (error) {
      if (tries === 100) throw error
      await setTimeout(50)
    }
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

export { until }
