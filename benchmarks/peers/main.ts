// What does it cost to use us, and what would it cost to use another? The table of docs/performance.md:
// `node benchmarks/peers/main.ts [--quick] [--only TEXT] [--distribution|--ociregistry|--zot CHECKOUT]`.
import { parseArgs } from 'node:util'
import { formatTable } from '../../src/cli/output/table.ts'
import { MiB } from '../lab/content.ts'
import { memoryBytes } from '../lab/cpu.ts'
import { startOrigin } from '../lab/nginx.ts'
import { disturbance, mostDisturbance } from '../lab/quiet.ts'
import { median } from '../lab/rounds.ts'
import { runInScope, type Scope } from '../../test/e2e/lab/scope.ts'
import type { Server } from '../lab/server.ts'
import { makeSite } from '../lab/site.ts'
import { startPeers } from './servers.ts'
import { makeWarmImages, makeWorks, memoryPerConnection, type Work } from './works.ts'

/** Of each server. */
type TableRow = readonly [name: string, ...figures: (readonly number[])[]]

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean' },
    // Work whose name has it.
    only: { type: 'string', default: '' },
    distribution: { type: 'string' },
    ociregistry: { type: 'string' },
    zot: { type: 'string' },
  },
})
const rounds = values.quick === true ? 3 : 7
const seconds = values.quick === true ? 0.5 : 1.5

async function run(scope: Scope): Promise<void> {
  const site = await makeSite(scope)
  const images = makeWarmImages()
  const origin = await startOrigin(scope, { ...site, content: images.content })
  const { distribution, ociregistry, zot } = values
  const { servers, absent } = await startPeers(scope, site, origin, {
    ...(distribution !== undefined && { 'distribution 3': distribution }),
    ...(ociregistry !== undefined && { ociregistry }),
    ...(zot !== undefined && { zot }),
  })
  const atStart = servers.map(({ pid }) => [memoryBytes(pid) / MiB])
  const rows: TableRow[] = []
  const busy: string[] = []
  const works = makeWorks(site.load, images, origin, seconds)
  for (const work of works.filter(({ names }) => names[0]?.includes(values.only))) {
    const { figures, disturbed } = await measureInTurn(servers, work)
    for (const [n, name] of work.names.entries()) rows.push([name, ...(figures[n] ?? [])])
    if (disturbed > mostDisturbance) {
      busy.push(
        `${work.names[0]}: a loop took up to ${(1 + disturbed).toFixed(1)} times its CPU time`,
      )
    }
    process.stderr.write(`${work.names[0]}\n`)
  }
  const after = servers.map(({ pid }) => [memoryBytes(pid) / MiB])
  const connections: number[][] = []
  for (const server of servers) {
    connections.push([await memoryPerConnection(site.load, server, images.image)])
  }
  rows.push(
    ['resident at start, MiB', ...atStart],
    ['resident after this work, MiB', ...after],
    ['each of 500 active connections, KiB', ...connections],
  )
  print(servers, rows)
  for (const one of absent) process.stdout.write(`left out: ${one}\n`)
  for (const one of busy) process.stdout.write(`THE MACHINE WAS BUSY, ${one}\n`)
}

/** The first round fills caches and heaps, and does not count. */
async function measureInTurn(servers: readonly Server[], { names, measure }: Work) {
  const figures = names.map(() => servers.map((): number[] => []))
  let disturbed = 0
  for (let round = 0; round <= rounds; round += 1) {
    for (const [index, server] of servers.entries()) {
      const before = disturbance()
      const measured = await measure(server, round)
      if (round === 0) continue
      disturbed = Math.max(disturbed, Math.min(before, disturbance()))
      for (const [n, figure] of measured.entries()) figures[n]?.[index]?.push(figure)
    }
  }
  return { figures, disturbed }
}

/** Medians, and behind ours the ratio to the best of the others, nginx aside, which verifies nothing. */
function print(servers: readonly Server[], rows: readonly TableRow[]) {
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

await runInScope(run)
