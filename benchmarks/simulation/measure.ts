// Takes the figures that the model is fed with from real runs on this machine, into figures.json:
// `node benchmarks/simulation/measure.ts`, three minutes.
import { closeSync, fsyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createFreshBlobs } from '../lab/cold.ts'
import { addImage, emptyContent, KiB, MiB } from '../lab/content.ts'
import { cpuSeconds, memoryBytes } from '../lab/cpu.ts'
import { startGateway } from '../lab/gateway.ts'
import type { Line } from '../lab/client.ts'
import { startOrigin } from '../lab/nginx.ts'
import { disturbance } from '../lab/quiet.ts'
import { cpuOf, median } from '../lab/rounds.ts'
import { runInScope, type Scope } from '../../test/e2e/lab/scope.ts'
import type { Server } from '../lab/server.ts'
import { makeSite, type Site } from '../lab/site.ts'
import { writeFigures, type Figure, type Figures } from './figures.ts'
import { startRegion } from './region.ts'
import { countStoreRequests } from './store-requests.ts'
import { memoryOfTransfer } from './transfers.ts'

const rounds = 5
const blobBytes = 64 * MiB
/** Blobs of this size tell what each costs beside its bytes. */
const manyBlobs = 48
const followers = 10
/** As many clients as there are in the run that the model is held against, and images like those. */
const connections = 30
const layers = [MiB, 4 * MiB, 10 * MiB]
/** How long it is watched while nothing is asked of it, seconds. */
const idleSeconds = 15

/** What one round of some work gives. */
type Round = (round: number) => Promise<Record<string, number>>

/** The figures of several rounds, after one that fills caches and heaps and does not count. */
async function inRounds(measure: Round): Promise<Record<string, Figure>> {
  const taken = new Map<string, number[]>()
  for (let round = 0; round <= rounds; round += 1) {
    const figures = Object.entries(await measure(round))
    if (round === 0) continue
    for (const [name, figure] of figures) taken.set(name, [...(taken.get(name) ?? []), figure])
  }
  return Object.fromEntries([...taken].map(([name, all]) => [name, figureOf(all)]))
}

function figureOf(all: readonly number[]): Figure {
  const [middle, low, high] = [median(all), Math.min(...all), Math.max(...all)]
  const rounded = [middle, low, high].map((one) => Number(one.toPrecision(4)))
  return { median: rounded[0] ?? 0, low: rounded[1] ?? 0, high: rounded[2] ?? 0 }
}

/** CPU seconds of each of `servers` and of the client over the same work. */
async function cpuOfAll(servers: readonly { pid: number }[], work: () => Promise<unknown>) {
  const [server, ...others] = servers
  if (server === undefined) {
    await work()
    return []
  }
  let rest: number[] = []
  const own = await cpuOf(server, async () => {
    rest = await cpuOfAll(others, work)
  })
  return [own, ...rest]
}

/** One gateway without replicas in front of an origin. */
async function measureGateway(scope: Scope) {
  const site = await makeSite(scope)
  const content = emptyContent()
  const [, line = ''] = addImage(content, '1.0', [2 * KiB])
  const origin = await startOrigin(scope, { ...site, content })
  const gateway = await startGateway(scope, { ...site, originPort: origin.port })
  const { load } = site
  const large = createFreshBlobs(origin, 4, blobBytes)
  const cold = async (lines: readonly Line[], connections = 4) => {
    await load({ kind: 'open', port: gateway.port, connections })
    return cpuOfAll([gateway, origin], async () => load({ kind: 'once', lines }))
  }
  // First, for what is left to be done after much work is none of it.
  await cpuOf(gateway, async () => undefined)
  const before = cpuSeconds(gateway.pid)
  await delay(idleSeconds * 1000)
  const idle = figureOf([(cpuSeconds(gateway.pid) - before) / idleSeconds])
  // Then, for a process that has once had as much gives none of it back.
  const [cached = ''] = large(0)
  await cold([cached], 1)
  const transfer = figureOf([await memoryOfTransfer(gateway, site.identities, cached)])
  const handshakes = await inRounds(async () => {
    let requests = 0
    const cpu = await cpuOf(gateway, async () => {
      const call = { kind: 'handshakes', port: gateway.port, seconds: 1, atOnce: 8 } as const
      requests = (await load(call)).requests
    })
    return { handshake: cpu / requests }
  })
  const requests = await repeated(site, gateway, [line], 'requests')
  const bytes = await inRounds(async (round) => {
    const blobs = large(round)
    const [gatewayOnce = 0, originOnce = 0] = await cold(blobs.slice(0, 2))
    const many = blobs.slice(2).flatMap((blob) => Array.from({ length: followers }, () => blob))
    const [gatewayMany = 0] = await cold(many, many.length)
    const size = 2 * blobBytes
    return {
      cold: gatewayOnce / size,
      follow: Math.max(0, gatewayMany - gatewayOnce) / (followers - 1) / size,
      origin: originOnce / size,
    }
  })
  const ofMany = createFreshBlobs(origin, manyBlobs, MiB)
  const perByte = taken(bytes, 'cold').median
  const blobs = await inRounds(async (round) => {
    const [own = 0] = await cold(ofMany(round))
    return { coldBlob: Math.max(0, own / manyBlobs - perByte * MiB) }
  })
  const memory = figureOf([memoryBytes(gateway.pid, 'VmHWM')])
  const small = createFreshBlobs(origin, 300, 2 * KiB)
  const objects = await inRounds(async (round) => {
    const lines = small(round)
    const [own = 0, others = 0] = await cold(lines)
    return { coldObject: own / lines.length, origin: others / lines.length }
  })
  return { handshakes, requests, bytes, blobs, objects, memory, transfer, idle }
}

/** By as many connections as there are clients: CPU seconds for each of `per`. */
async function repeated(
  { load }: Site,
  front: { port: number },
  lines: readonly Line[],
  per: 'requests' | 'bytes',
  measured: readonly { pid: number }[] = [front as Server],
): Promise<Record<string, Figure>> {
  return inRounds(async () => {
    await load({ kind: 'open', port: front.port, connections })
    let done = 0
    const call = { kind: 'repeat', lines, seconds: 1 } as const
    const [client = 0, ...cpu] = await cpuOfAll([load, ...measured], async () => {
      done = (await load(call))[per]
    })
    await load({ kind: 'close' })
    const [first = 0, ...others] = cpu
    const sum = others.reduce((total, one) => total + one, 0)
    return { client: client / done, first: first / done, others: sum / done }
  })
}

/** Warm, through haproxy, from three replicas: what the bytes cost each of those on their way. */
async function measureWay(scope: Scope) {
  const site = await makeSite(scope)
  const content = emptyContent()
  const images = Array.from({ length: 4 }, (_, n) => addImage(content, `${n}`, layers))
  const [, small = ''] = addImage(content, 'small', [2 * KiB])
  const large = images.flatMap((lines) => lines.slice(-layers.length))
  const { balancer, replicas } = await startRegion(scope, site, { name: 'way', content })
  const all = [balancer, ...replicas]
  return {
    requests: await repeated(site, balancer, [small], 'requests', all),
    bytes: await repeated(site, balancer, large, 'bytes', all),
  }
}

/** Bytes a second: half a GiB in pieces of a MiB, and the sync at the end. */
async function measureDisk(scope: Scope): Promise<Figure> {
  const { folder } = await makeSite(scope)
  const piece = Buffer.alloc(MiB, 7)
  const { write } = await inRounds(async () => {
    const file = join(folder, 'written')
    const descriptor = openSync(file, 'w')
    const began = performance.now()
    for (let n = 0; n < 512; n += 1) writeSync(descriptor, piece)
    fsyncSync(descriptor)
    const passed = (performance.now() - began) / 1000
    closeSync(descriptor)
    rmSync(file)
    return { write: (512 * MiB) / passed }
  })
  return write ?? figureOf([NaN])
}

function taken(figures: Record<string, Figure>, name: string): Figure {
  const figure = figures[name]
  if (figure === undefined) throw new Error(`there is no figure ${name}`)
  return figure
}

/** Runs `work` with a scope of its own, ended after it. */
async function apart<Value>(name: string, work: (scope: Scope) => Promise<Value>): Promise<Value> {
  process.stderr.write(`${name} ...\n`)
  return runInScope(work)
}

const before = disturbance()
const gateway = await apart('one gateway', measureGateway)
const way = await apart('the way through haproxy', measureWay)
const disk = await apart('disk', measureDisk)
const store = await apart('store', countStoreRequests)
if (store === undefined) throw new Error('versitygw is missing: see benchmarks/README.md')
const figures: Figures = {
  machine: {
    date: new Date().toISOString().slice(0, 10),
    node: process.version,
    processor: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    disturbance: Number(Math.max(before, disturbance()).toFixed(2)),
  },
  gateway: {
    handshake: taken(gateway.handshakes, 'handshake'),
    request: taken(gateway.requests, 'first'),
    coldObject: taken(gateway.objects, 'coldObject'),
    coldBlob: taken(gateway.blobs, 'coldBlob'),
    warm: taken(way.bytes, 'others'),
    follow: taken(gateway.bytes, 'follow'),
    cold: taken(gateway.bytes, 'cold'),
    idle: gateway.idle,
    memory: gateway.memory,
    transferMemory: gateway.transfer,
  },
  client: { request: taken(way.requests, 'client'), byte: taken(way.bytes, 'client') },
  balancer: { request: taken(way.requests, 'first'), byte: taken(way.bytes, 'first') },
  origin: { request: taken(gateway.objects, 'origin'), byte: taken(gateway.bytes, 'origin') },
  disk,
  store,
}
writeFigures(figures)
process.stdout.write(`${JSON.stringify(figures, undefined, 2)}\n`)
