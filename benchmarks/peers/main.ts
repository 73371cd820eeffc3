// What does it cost to use us, and what would it cost to use another? The table of docs/performance.md:
// `node benchmarks/peers/main.ts [--quick] [--distribution CHECKOUT]`.
import { parseArgs } from 'node:util'
import { formatTable } from '../../src/cli/output/table.ts'
import { createFreshBlobs } from '../lab/cold.ts'
import { addBlob, addImage, emptyContent, GiB, KiB, MiB } from '../lab/content.ts'
import { memoryBytes } from '../lab/cpu.ts'
import { startOrigin } from '../lab/nginx.ts'
import { disturbance, mostDisturbance } from '../lab/quiet.ts'
import { cpuOf, median } from '../lab/rounds.ts'
import { createScope, type Scope } from '../lab/scope.ts'
import type { Server } from '../lab/server.ts'
import { makeSite, type Site } from '../lab/site.ts'
import { startPeers } from './servers.ts'

interface Work {
  /** Figures that one round of one server gives, in the order of `names`. */
  names: readonly string[]
  measure: (server: Server, round: number) => Promise<readonly number[]>
}

const { values } = parseArgs({
  options: { quick: { type: 'boolean' }, distribution: { type: 'string' } },
})
const rounds = values.quick === true ? 3 : 7
const seconds = values.quick === true ? 0.5 : 1.5

function warm({ load }: Site, name: string, lines: readonly string[], per: 'requests' | 'bytes') {
  const scale = per === 'bytes' ? GiB : 1e6
  const connections = per === 'bytes' ? 8 : 16
  const measure = async (server: Server, round: number) => {
    if (round === 0) {
      // One after the other: some fail where many ask at once for what they have to fetch.
      await load({ kind: 'open', port: server.port, connections: 1 })
      await load({ kind: 'once', lines })
    }
    await load({ kind: 'open', port: server.port, connections })
    let done = 0
    const cpu = await cpuOf(server, async () => {
      done = (await load({ kind: 'repeat', lines, seconds }))[per]
    })
    await load({ kind: 'close' })
    return [(cpu / done) * scale * (per === 'requests' ? lines.length : 1)]
  }
  return { names: [name], measure }
}

/** Blobs that nobody has asked for before, with a figure each of CPU, of time and of the first byte. */
function cold(
  { load }: Site,
  names: readonly string[],
  blobs: (round: number) => readonly string[],
  scale: number,
): Work {
  return {
    names,
    async measure(server, round) {
      const lines = blobs(round)
      await load({ kind: 'open', port: server.port, connections: Math.min(4, lines.length) })
      let told = { seconds: 0, firstBytes: [0] }
      const cpu = await cpuOf(server, async () => {
        told = await load({ kind: 'once', lines })
      })
      return [cpu * scale, told.seconds, median(told.firstBytes)].slice(0, names.length)
    },
  }
}

async function run(scope: Scope): Promise<void> {
  const site = await makeSite(scope)
  const content = emptyContent()
  const image = addImage(
    content,
    '1.0',
    [2, 4, 8, 16, 32].map((size) => size * KiB),
  )
  const [small, large] = [addBlob(content, 40 * KiB), addBlob(content, 64 * MiB)]
  const origin = await startOrigin(scope, { ...site, content })
  const { servers, absent } = await startPeers(scope, site, origin, values.distribution)
  const atStart = servers.map(({ pid }) => memoryBytes(pid) / MiB)
  const works: Work[] = [
    warm(site, 'warm image pull (9 requests), us CPU', image, 'requests'),
    warm(site, 'warm manifest, us CPU', image.slice(2, 3), 'requests'),
    warm(site, 'warm 40 KiB blob, us CPU', [small], 'requests'),
    warm(site, 'warm 64 MiB blob, 8 at once, CPU s/GiB', [large], 'bytes'),
    cold(
      site,
      ['cold 64 MiB in 4 layers, CPU s/GiB', '  the same, wall s', '  the same, first byte ms'],
      createFreshBlobs(origin, 4, 16 * MiB),
      16,
    ),
    cold(site, ['8 cold tiny objects, us CPU'], createFreshBlobs(origin, 80, 2 * KiB), 1e5),
  ]
  const rows: [string, ...(readonly number[])[]][] = []
  let disturbed = 0
  for (const { names, measure } of works) {
    const figures = names.map(() => servers.map((): number[] => []))
    for (let round = 0; round <= rounds; round += 1) {
      for (const [index, server] of servers.entries()) {
        const before = disturbance()
        const measured = await measure(server, round)
        // The first round fills caches and heaps, and does not count.
        if (round === 0) continue
        disturbed = Math.max(disturbed, Math.min(before, disturbance()))
        for (const [n, figure] of measured.entries()) figures[n]?.[index]?.push(figure)
      }
    }
    for (const [n, name] of names.entries()) rows.push([name, ...(figures[n] ?? [])])
    process.stderr.write(`${names[0]}\n`)
  }
  rows.push(
    ['resident at start, MiB', ...atStart.map((size) => [size])],
    ['resident after this work, MiB', ...servers.map(({ pid }) => [memoryBytes(pid) / MiB])],
  )
  print(servers, rows)
  for (const one of absent) process.stdout.write(`left out: ${one}\n`)
  if (disturbed <= mostDisturbance) return
  process.stdout.write(
    `THE MACHINE WAS BUSY: a loop took up to ${(1 + disturbed).toFixed(1)} times its CPU time. Only ratios say something.\n`,
  )
}

/** Medians, and behind ours the ratio to the best of the others, nginx aside, which verifies nothing. */
function print(servers: readonly Server[], rows: readonly [string, ...(readonly number[])[]][]) {
  const titles = servers.map(({ name }) => ({ title: name, right: true }))
  const columns = [{ title: 'work' }, ...titles, { title: 'to the best registry' }]
  const cells = rows.map(([name, ...all]) => {
    const [ours = NaN, ...others] = all.map(median)
    const registries = others.filter(
      (_, index) => servers[index + 1]?.name.startsWith('nginx') === false,
    )
    const ratio = `${(ours / Math.min(...registries)).toFixed(2)}x`
    return [name, ...all.map(withSpread), ratio]
  })
  process.stdout.write(formatTable(columns, cells))
}

function withSpread(figures: readonly number[]): string {
  const middle = median(figures)
  const digits = middle >= 100 ? 0 : middle >= 10 ? 1 : 2
  if (figures.length === 1) return middle.toFixed(digits)
  const range = [Math.min(...figures), Math.max(...figures)].map((one) => one.toFixed(digits))
  return `${middle.toFixed(digits)} (${range.join('-')})`
}

const scope = createScope()
const interrupted = () => void scope.end().finally(() => process.exit(1))
process.once('SIGINT', interrupted).once('SIGTERM', interrupted)
try {
  await run(scope)
} finally {
  await scope.end()
}
