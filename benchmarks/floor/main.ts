// How far are we from the least that Node can do for a cold blob, and is what we want within its reach? `node
// benchmarks/floor/main.ts [large|tiny]`: the least program, the same without one of its steps, the gateway,
// distribution 3 where it is on PATH, and nginx, in turn.
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatTable } from '../../src/cli/output/table.ts'
import { findGoProgram } from '../../test/e2e/lab/go-program.ts'
import { subfolder } from '../../test/e2e/lab/folder.ts'
import { runInScope, type Scope } from '../../test/e2e/lab/scope.ts'
import { createFreshBlobs, startCaches } from '../lab/cold.ts'
import { GiB, KiB, MiB } from '../lab/content.ts'
import { disturbance, mostDisturbance } from '../lab/quiet.ts'
import { startRegistryCache } from '../lab/registry.ts'
import { cpuOf, inTurn, median, type Series } from '../lab/rounds.ts'
import { startServer, type Server } from '../lab/server.ts'
import { makeSite, type Site } from '../lab/site.ts'
import type { Settings, Step } from './steps.ts'

interface Work {
  name: string
  unit: string
  count: number
  size: number
  /** What CPU seconds of a round are multiplied with. */
  scale: number
  /** The least program without each of them. */
  steps: readonly (readonly Step[])[]
}

const works: readonly Work[] = [
  {
    name: 'large',
    unit: 'cold, 4 blobs of 17 MiB at once, CPU s/GiB',
    count: 4,
    size: 17 * MiB,
    scale: GiB / (4 * 17 * MiB),
    steps: [[], ['hash'], ['file'], ['client'], ['upstream'], ['hash', 'file', 'client']],
  },
  {
    name: 'tiny',
    unit: 'cold blob of 2 KiB, 4 at once, CPU us',
    count: 400,
    size: 2 * KiB,
    scale: 1e6 / 400,
    steps: [[], ['hash'], ['sync'], ['file'], ['index'], ['file', 'index'], ['upstream']],
  },
]

function startFloor(
  scope: Scope,
  { folder: parent, identities }: Site,
  work: Pick<Settings, 'originPort' | 'size' | 'without'>,
): Promise<Server> {
  const parts = work.without.join(', ')
  const name = parts === '' ? 'the least program' : `without ${parts}`
  const folder = subfolder(parent, `floor ${parts}`)
  const file = join(folder, 'settings.json')
  const read = ({ cert, key }: { cert: string; key: string }) => ({
    cert: readFileSync(cert, 'utf8'),
    key: readFileSync(key, 'utf8'),
  })
  const { ca, server, client } = identities
  const settings: Settings = {
    ...work,
    folder,
    ca: readFileSync(ca, 'utf8'),
    server: read(server),
    client: read(client),
  }
  writeFileSync(file, JSON.stringify(settings))
  return startServer(scope, {
    name,
    folder,
    command: process.execPath,
    args: [join(import.meta.dirname, 'server.ts'), file],
    ready: async (output) => {
      const port = /^listening on (\d+)/.exec(output)?.[1]
      return port === undefined ? undefined : Number(port)
    },
  })
}

async function measure(scope: Scope, { count, size, scale, steps }: Work): Promise<Series> {
  const site = await makeSite(scope)
  const { origin, gateway, nginx } = await startCaches(scope, site)
  const servers = [gateway]
  const program = findGoProgram('registry-v3')
  if (program !== undefined) {
    const open = { ...site, originPort: origin.openPort }
    servers.push(await startRegistryCache(scope, { ...open, name: 'distribution 3', program }))
  }
  servers.push(nginx)
  for (const without of steps) {
    servers.push(await startFloor(scope, site, { originPort: origin.port, size, without }))
  }
  const blobs = createFreshBlobs(origin, count, size)
  const pull = async (server: Server, round: number) => {
    const lines = blobs(round)
    await site.load({ kind: 'open', port: server.port, connections: 4 })
    const cpu = await cpuOf(server, async () => site.load({ kind: 'once', lines }))
    await site.load({ kind: 'close' })
    return cpu * scale
  }
  // Until what is pulled by is compiled.
  await inTurn(servers, pull, { rounds: 3, seconds: 60 })
  return inTurn(servers, pull, { rounds: 9, seconds: 200 })
}

/** CPU s/GiB of nothing but the hash. */
function hashAlone(): number {
  const part = Buffer.alloc(256 * KiB)
  const hash = createHash('sha256')
  const before = process.cpuUsage()
  for (let done = 0; done < 256 * MiB; done += part.length) hash.update(part)
  const { user, system } = process.cpuUsage(before)
  return ((user + system) / 1e6) * 4
}

function print({ unit }: Work, series: Series): void {
  const [ours = []] = series.values()
  const figure = (value: number) => value.toFixed(value >= 100 ? 0 : 2)
  const cells = [...series].map(([{ name }, figures]) => [
    name,
    figure(median(figures)),
    `${figure(Math.min(...figures))}-${figure(Math.max(...figures))}`,
    `${median(figures.map((value, round) => value / (ours[round] ?? NaN))).toFixed(2)}x`,
  ])
  const right = true
  const titles = [{ title: unit }, { title: '', right }, { title: 'of rounds' }]
  process.stdout.write(formatTable([...titles, { title: 'to the gateway', right }], cells))
}

await runInScope(async (scope) => {
  const before = disturbance()
  for (const work of works) {
    if (![undefined, work.name].includes(process.argv[2])) continue
    print(work, await measure(scope, work))
  }
  process.stdout.write(`SHA-256 alone: ${hashAlone().toFixed(2)} CPU s/GiB\n`)
  if (Math.min(before, disturbance()) > mostDisturbance) process.stdout.write('MACHINE WAS BUSY\n')
})
