// Kills a downloading gateway again and again, and looks at what its cache holds after each restart.
// `node test/e2e/kill-loop.ts 200` does two hundred rounds and says what came of them.
import { createHash, randomInt } from 'node:crypto'
import { readdirSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { startRegistry } from '../../src/demo/registry.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { storedIn } from '../helpers/cache.ts'
import { serveCommand, startConfigured, writeConfig, type Gateway } from './lab/gateway.ts'
import { startProgram } from './lab/program.ts'

export interface KillOutcome {
  kills: number
  /** Kills before clients had what they asked for. */
  interrupted: number
  /** What must not be: wrong files, leftovers, wrong bodies that looked complete. */
  violations: string[]
}

interface Site {
  /** The config file. */
  file: string
  dir: string
  digests: Digest[]
  /** Bytes of all blobs. */
  bytes: number
}

const layers = 4
const repository = '/v2/app'

/** After `rounds` kills, one more gateway has to serve everything, the last time without upstream. */
export async function killLoop(t: Pick<Test, 'teardown'>, rounds: number): Promise<KillOutcome> {
  const image = await buildSampleImage({ layerBytes: 3_000_000 })
  for (let seed = 1; seed < layers; seed += 1) {
    const bytes = createHash('shake256', { outputLength: 3_000_000 }).update(`${seed}`).digest()
    image.blobs.set(digestOf(bytes), bytes)
  }
  const upstream = await startRegistry({ repositories: { app: image } })
  t.teardown(() => upstream.close())
  const file = writeConfig(t, {
    listen: { host: '127.0.0.1', port: 0, insecureHttp: true },
    admin: { port: 0 },
    upstreams: { 'registry.test': { url: upstream.url, staleIfError: '1d' } },
    defaultUpstream: 'registry.test',
  })
  const digests = [...image.blobs.keys()]
  const bytes = [...image.blobs.values()].reduce((sum, blob) => sum + blob.length, 0)
  const site: Site = { file, dir: join(file, '..', 'cache'), digests, bytes }
  const outcome: KillOutcome = { kills: 0, interrupted: 0, violations: [] }

  for (let round = 0; round < rounds; round += 1) {
    if (round % 10 === 9) await killStarting(t, site)
    else await killPulling(t, site, outcome, round % 5 === 4)
    outcome.kills += 1
  }
  const gateway = await restarted(t, site, outcome)
  await pullAll(site, gateway, outcome)
  await upstream.close()
  await pullAll(site, gateway, outcome)
  await gateway.program.stop()
  look(site, 'at the end', outcome)
  return outcome
}

/** Some time before it listens, or soon after. */
async function killStarting(t: Pick<Test, 'teardown'>, { file }: Site): Promise<void> {
  const [command = '', ...args] = serveCommand(file)
  const program = await startProgram(t, { command, args })
  await delay(randomInt(1000))
  await program.stop('SIGKILL')
}

/** At a random byte of what clients get, or when they have it all and the disk maybe not. */
async function killPulling(
  t: Pick<Test, 'teardown'>,
  site: Site,
  outcome: KillOutcome,
  isLate: boolean,
): Promise<void> {
  const gateway = await restarted(t, site, outcome)
  let left = isLate ? Infinity : randomInt(site.bytes)
  const enough = Promise.withResolvers<void>()
  const clients = [...site.digests, ...site.digests].map(async (digest, index) => {
    const from = index < site.digests.length ? 0 : randomInt(1_000_000)
    const body = await pull(gateway, `blobs/${digest}`, from, (received) => {
      left -= received
      if (left < 0) enough.resolve()
    })
    const isRight = body === undefined || from > 0 || body === digest
    if (!isRight) outcome.violations.push(`a client completed ${body} instead of ${digest}`)
  })
  clients.push(pull(gateway, 'manifests/latest', 0, () => undefined).then(() => undefined))
  const all = Promise.all(clients)
  await Promise.race([enough.promise, all])
  if (isLate) await delay(randomInt(50))
  else if (left < 0) outcome.interrupted += 1
  await gateway.program.stop('SIGKILL')
  await all
}

/** Starts it again, looks at what is there, and takes some of it away: there is more to download. */
async function restarted(
  t: Pick<Test, 'teardown'>,
  site: Site,
  outcome: KillOutcome,
): Promise<Gateway> {
  const gateway = await startConfigured(t, site.file)
  look(site, `after ${outcome.kills} kills`, outcome)
  const files = readdirSync(join(site.dir, 'blobs'), { recursive: true, withFileTypes: true })
  for (const entry of files) {
    if (entry.isFile() && randomInt(4) > 0) rmSync(join(entry.parentPath, entry.name))
  }
  return gateway
}

function look({ dir }: Site, when: string, { violations }: KillOutcome): void {
  try {
    storedIn(dir)
  } catch (error) {
    violations.push(`${when}: ${String(error)}`)
  }
  for (const folder of ['tmp', 'quarantine']) {
    const left = readdirSync(join(dir, folder))
    if (left.length > 0) violations.push(`${when}: ${folder} has ${left.join(', ')}`)
  }
}

async function pullAll(site: Site, gateway: Gateway, { violations }: KillOutcome): Promise<void> {
  const tag = await pull(gateway, 'manifests/latest', 0, () => undefined)
  if (tag === undefined) violations.push('the tag cannot be pulled in the end')
  for (const digest of site.digests) {
    const body = await pull(gateway, `blobs/${digest}`, 0, () => undefined)
    if (body !== digest) violations.push(`${digest} is ${body} in the end`)
  }
}

/** What a complete body hashes to; undefined where there was none. */
function pull(
  { port }: Gateway,
  resource: string,
  from: number,
  onBytes: (count: number) => void,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const headers = from === 0 ? {} : { range: `bytes=${from}-` }
    const options = { host: '127.0.0.1', port, path: `${repository}/${resource}`, headers }
    get({ ...options, agent: false }, (response) => {
      const hash = createHash('sha256')
      response.on('error', () => resolve(undefined))
      response.on('data', (chunk: Buffer) => {
        hash.update(chunk)
        onBytes(chunk.length)
      })
      response.on('end', () => {
        const isOk = [200, 206].includes(response.statusCode ?? 0)
        resolve(isOk ? `sha256:${hash.digest('hex')}` : undefined)
      })
    }).on('error', () => resolve(undefined))
  })
}

if (import.meta.main) {
  const rounds = Number(process.argv[2] ?? 200)
  const cleanups: (() => unknown)[] = []
  const teardown = (cleanup: () => unknown) => void cleanups.unshift(cleanup)
  try {
    const { kills, interrupted, violations } = await killLoop({ teardown }, rounds)
    process.stdout.write(
      `${kills} kills, ${interrupted} in the middle of a download; ` +
        `${violations.length} violations\n${violations.map((text) => `${text}\n`).join('')}`,
    )
    process.exitCode = violations.length > 0 ? 1 : 0
  } finally {
    for (const cleanup of cleanups) await cleanup()
  }
}
