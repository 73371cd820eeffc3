// Kills a gateway that downloads and makes room, and what imports beside it, again and again, and looks
// at what the cache holds after each restart.
// `node test/e2e/kill-loop.ts 200` does two hundred rounds and says what came of them.
import { createHash, randomInt } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { startRegistry } from '../../src/demo/registry.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { craneFiles, sample, tarWith } from '../helpers/archives.ts'
import { storedIn } from '../helpers/cache.ts'
import { serveCommand, startConfigured, writeConfig, type Gateway } from './lab/gateway.ts'
import { startProgram, type Program } from './lab/program.ts'
import { withScope } from './lab/scope.ts'

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
  /** What each process starts by: with modules that are compiled already it starts in half the time. */
  by: readonly string[]
  dir: string
  /** Of an image that is imported, never pulled. */
  archive: string
  /** Paths of manifests, each a tag and a link of the index. */
  tags: string[]
  digests: Digest[]
  /** Bytes of all blobs. */
  bytes: number
}

const layers = 4
const repository = '/v2/app'
/** They share one small image, and have a tag each. */
const smallRepositories = Array.from({ length: 30 }, (_, at) => `small/${at}`)
/** Of 12 MB that are pulled: room has to be made all the time. */
const tight = '8MiB'
const importedTag = '/v2/imported/manifests/1'

/** After `rounds` kills, one more gateway has to serve everything, the last time without upstream. */
export async function killLoop(t: Pick<Test, 'teardown'>, rounds: number): Promise<KillOutcome> {
  const image = await buildSampleImage({ layerBytes: 3_000_000 })
  for (let seed = 1; seed < layers; seed += 1) {
    const bytes = createHash('shake256', { outputLength: 3_000_000 }).update(`${seed}`).digest()
    image.blobs.set(digestOf(bytes), bytes)
  }
  const small = await sample()
  const upstream = await startRegistry({
    repositories: {
      app: image,
      ...Object.fromEntries(smallRepositories.map((name) => [name, small.content])),
    },
  })
  t.teardown(() => upstream.close())
  const file = writeConfig(t, {
    listen: { host: '127.0.0.1', port: 0, insecureHttp: true },
    admin: { port: 0 },
    cache: { dir: 'cache', maxBytes: tight },
    upstreams: { 'registry.test': { url: upstream.url, staleIfError: '1d' } },
    defaultUpstream: 'registry.test',
  })
  const archive = join(file, '..', 'image.tar')
  writeFileSync(archive, await tarWith(craneFiles(await sample('imported'), ['app:1'])))
  const tags = ['app', ...smallRepositories].map((name) => `/v2/${name}/manifests/latest`)
  const digests = [...image.blobs.keys()]
  const bytes = [...image.blobs.values()].reduce((sum, blob) => sum + blob.length, 0)
  const by = ['env', `NODE_COMPILE_CACHE=${join(file, '..', 'compiled')}`]
  const site: Site = { file, by, dir: join(file, '..', 'cache'), archive, tags, digests, bytes }
  const outcome: KillOutcome = { kills: 0, interrupted: 0, violations: [] }
  // Only who ends in peace leaves what it has compiled.
  await (await startConfigured(t, file, by)).program.stop()

  for (let round = 0; round < rounds; round += 1) {
    if (round % 10 === 9) await killStarting(t, site)
    else await killPulling(t, site, outcome, { isLate: round % 5 === 4, imports: round % 3 === 1 })
    outcome.kills += 1
  }
  writeFileSync(file, readFileSync(file, 'utf8').replace(tight, '1GiB'))
  const gateway = await restarted(t, site, outcome)
  if ((await (await startImport(t, site)).ended) !== 0) {
    outcome.violations.push('the image cannot be imported in the end')
  }
  await pullAll(site, gateway, outcome)
  await upstream.close()
  await pullAll(site, gateway, outcome)
  await gateway.program.stop()
  look(site, 'at the end', outcome)
  return outcome
}

/** Some time before it listens, or soon after. */
async function killStarting(t: Pick<Test, 'teardown'>, { file, by }: Site): Promise<void> {
  const [command = '', ...args] = [...by, ...serveCommand(file)]
  const program = await startProgram(t, { command, args })
  await delay(randomInt(1000))
  await program.stop('SIGKILL')
}

/** At a random byte of what clients get, or when they have it all and the disk maybe not. */
async function killPulling(
  t: Pick<Test, 'teardown'>,
  site: Site,
  outcome: KillOutcome,
  { isLate, imports }: { isLate: boolean; imports: boolean },
): Promise<void> {
  const gateway = await restarted(t, site, outcome)
  const importing = imports ? await startImport(t, site) : undefined
  let left = isLate ? Infinity : randomInt(site.bytes)
  const enough = Promise.withResolvers<void>()
  const clients = [...site.digests, ...site.digests].map(async (digest, index) => {
    const from = index < site.digests.length ? 0 : randomInt(1_000_000)
    const body = await pull(gateway, `${repository}/blobs/${digest}`, from, (received) => {
      left -= received
      if (left < 0) enough.resolve()
    })
    const isRight = body === undefined || from > 0 || body === digest
    if (!isRight) outcome.violations.push(`a client completed ${body} instead of ${digest}`)
  })
  for (const tag of site.tags) {
    if (randomInt(2) === 0) clients.push(pull(gateway, tag).then(() => undefined))
  }
  const all = Promise.all(clients)
  await Promise.race([enough.promise, all])
  if (importing !== undefined) await Promise.race([importing.ended, delay(randomInt(2000))])
  if (isLate) await delay(randomInt(50))
  else if (left < 0) outcome.interrupted += 1
  await Promise.all([importing?.stop('SIGKILL'), gateway.program.stop('SIGKILL')])
  await all
}

function startImport(t: Pick<Test, 'teardown'>, { file, by, archive }: Site): Promise<Program> {
  const [node = '', main = ''] = serveCommand(file)
  const options = ['--as', 'registry.test/imported', '--config', file]
  const [command = '', ...args] = [...by, node, main, 'import', archive, ...options]
  return startProgram(t, { command, args })
}

/** Starts it again, looks at what is there, and takes some of it away: there is more to download. */
async function restarted(
  t: Pick<Test, 'teardown'>,
  site: Site,
  outcome: KillOutcome,
): Promise<Gateway> {
  const gateway = await startConfigured(t, site.file, site.by)
  look(site, `after ${outcome.kills} kills`, outcome, gateway.program.pid)
  for (const { level, msg } of gateway.log()) {
    if (Number(level) >= 50) outcome.violations.push(`after ${outcome.kills} kills: ${String(msg)}`)
  }
  const files = readdirSync(join(site.dir, 'blobs'), { recursive: true, withFileTypes: true })
  for (const entry of files) {
    if (entry.isFile() && randomInt(4) > 0) rmSync(join(entry.parentPath, entry.name))
  }
  return gateway
}

/** @param running the id of a gateway, whose own temporary files are no leftovers */
function look({ dir }: Site, when: string, { violations }: KillOutcome, running?: number): void {
  try {
    storedIn(dir)
  } catch (error) {
    violations.push(`${when}: ${String(error)}`)
  }
  for (const folder of ['tmp', 'quarantine']) {
    const left = readdirSync(join(dir, folder)).filter((name) => !name.startsWith(`${running}-`))
    if (left.length > 0) violations.push(`${when}: ${folder} has ${left.join(', ')}`)
  }
}

async function pullAll(site: Site, gateway: Gateway, { violations }: KillOutcome): Promise<void> {
  for (const tag of [...site.tags, importedTag]) {
    if ((await pull(gateway, tag)) === undefined) violations.push(`${tag} is not served in the end`)
  }
  for (const digest of site.digests) {
    const body = await pull(gateway, `${repository}/blobs/${digest}`)
    if (body !== digest) violations.push(`${digest} is ${body} in the end`)
  }
}

/** What a complete body hashes to; undefined where there was none. */
function pull(
  { port }: Gateway,
  path: string,
  from = 0,
  onBytes: (count: number) => void = () => undefined,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const headers = from === 0 ? {} : { range: `bytes=${from}-` }
    const options = { host: '127.0.0.1', port, path, headers }
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
  const { kills, interrupted, violations } = await withScope(async (scope) =>
    killLoop(scope, rounds),
  )
  process.stdout.write(
    `${kills} kills, ${interrupted} in the middle of a download; ` +
      `${violations.length} violations\n${violations.map((text) => `${text}\n`).join('')}`,
  )
  process.exitCode = violations.length > 0 ? 1 : 0
}
