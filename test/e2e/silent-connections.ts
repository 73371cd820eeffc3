// Opens thousands of silent connections to a gateway while clients pull from it, and judges: every
// pull works, memory stays, and the silent ones are gone soon. `node test/e2e/silent-connections.ts
// [connections]`, 20,000 unless told; raises its own limit of descriptors, which takes root.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { Agent, get } from 'node:https'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startRegistry } from '../../src/demo/registry.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { testPki } from '../helpers/tls.ts'

export interface SilentOutcome {
  /** Pulls that worked, and what went wrong with the others. */
  pulls: number
  failures: string[]
  /** Memory of the gateway in MiB: before, and the most of it. */
  before: number
  most: number
  /** Seconds from the last silent connection's opening to the end of all. */
  goneAfter: number
  left: number
}

const clients = 20
/** From the last opening, ms. */
const patience = 40_000
const mebibyte = 1024 * 1024

if (import.meta.main) {
  const { positionals } = parseArgs({ allowPositionals: true })
  const count = Number(positionals[0] ?? 20_000)
  const outcome = await silentConnections(count)
  const { before, most, goneAfter, left, failures } = outcome
  process.stdout.write(`${JSON.stringify({ count, ...outcome }, undefined, 2)}\n`)
  const holds = failures.length === 0 && most - before < 200 && goneAfter < 20 && left === 0
  process.stdout.write(holds ? 'HOLDS\n' : 'DOES NOT HOLD\n')
  process.exitCode = holds ? 0 : 1
}

/** A gateway of its own, `count` silent connections from 127.0.0.2 to 127.0.0.250, and twenty that pull. */
export async function silentConnections(count: number): Promise<SilentOutcome> {
  spawnSync('prlimit', [`--pid=${process.pid}`, `--nofile=${count + 4000}:${count + 4000}`])
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-silent-'))
  const image = await buildSampleImage()
  const registry = await startRegistry({ repositories: { app: image } })
  const { child, port } = await startGateway(folder, registry.url)
  const silent: Socket[] = []
  const over = new AbortController()
  try {
    const idle = descriptorsOf(child) + 2 * clients
    const outcome = { pulls: 0, failures: [] as string[], before: memoryOf(child), most: 0 }
    const watch = setInterval(() => (outcome.most = Math.max(outcome.most, memoryOf(child))), 200)
    const pulling = Promise.all(
      Array.from({ length: clients }, async () => pullOn(port, outcome, over.signal)),
    )
    for (let at = 0; at < count; at += 1) {
      silent.push(openSilent(port, `127.0.0.${2 + (at % 249)}`))
      if (at % 100 === 99) await setTimeout(100)
    }
    const opened = Date.now()
    const left = () => descriptorsOf(child) - idle
    while (left() > 0 && Date.now() - opened < patience) await setTimeout(100)
    const goneAfter = (Date.now() - opened) / 1000
    over.abort()
    await pulling
    clearInterval(watch)
    return { ...outcome, goneAfter, left: Math.max(0, left()) }
  } finally {
    for (const socket of silent) socket.destroy()
    child.kill('SIGKILL')
    await registry.close()
    rmSync(folder, { recursive: true })
  }
}

async function startGateway(folder: string, url: string) {
  const pki = await testPki()
  writeFileSync(join(folder, 'ca.crt'), pki.ca.certificatePem)
  writeFileSync(join(folder, 'server.crt'), pki.server.certificatePem)
  writeFileSync(join(folder, 'server.key'), pki.server.keyPem)
  const config = join(folder, 'gateway.yaml')
  writeFileSync(
    config,
    `listen: { host: 127.0.0.1, port: 0, tls: { cert: server.crt, key: server.key } }
admin: { port: 0 }
cache: { dir: cache }
log: { level: info }
upstreams: { registry.test: { url: '${url}' } }
defaultUpstream: registry.test
`,
  )
  const main = join(import.meta.dirname, '../../src/main.ts')
  const child = spawn(process.execPath, [main, 'serve', '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const port = await new Promise<number>((resolve, reject) => {
    let output = ''
    child.once('exit', () => reject(new Error(`the gateway has ended: ${output}`)))
    child.stdout.on('data', (chunk: Buffer) => {
      if (output.length < 10_000) output += chunk.toString()
      const found = /"port":(\d+)/.exec(output)
      if (found !== null) resolve(Number(found[1]))
    })
  })
  return { child, port }
}

/** One that says nothing: some do not even begin, others with half a handshake. */
function openSilent(port: number, localAddress: string): Socket {
  const socket = connect({ port, host: '127.0.0.1', localAddress })
  socket.on('error', () => undefined).resume()
  if (Math.random() < 0.5) socket.write(Buffer.from([0x16, 3, 1, 1, 0, 1]))
  return socket
}

/** Pulls manifests, each over a connection of its own, until told to stop. */
async function pullOn(
  port: number,
  outcome: { pulls: number; failures: string[] },
  signal: AbortSignal,
): Promise<void> {
  const { ca } = await testPki()
  while (!signal.aborted) {
    const agent = new Agent({ ca: ca.certificatePem })
    try {
      await pull(port, agent)
      outcome.pulls += 1
    } catch (error) {
      outcome.failures.push(String(error))
    } finally {
      agent.destroy()
    }
    await setTimeout(100)
  }
}

async function pull(port: number, agent: Agent): Promise<void> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const asked = get({ agent, host: 'localhost', port, path: '/v2/app/manifests/1.0' }, resolve)
    asked.on('error', reject)
    asked.setTimeout(20_000, () => asked.destroy(new Error('not answered in 20 s')))
  })
  await buffer(response)
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
}

/**
 * What the gateway has open. Its clients cannot tell: one that the kernel had no room for believes
 * that it is connected.
 */
function descriptorsOf({ pid }: ChildProcess): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** MiB, resident. */
function memoryOf({ pid }: ChildProcess): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1])
  return Math.round((pages * 4096) / mebibyte)
}
