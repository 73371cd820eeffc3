// What do three replicas cost beside one gateway: for what they hold, and for what one has to fetch?
import type { Digest } from '../../src/oci/digest.ts'
import { rank } from '../../src/upstream/replicas/ranking.ts'
import { createFreshBlobs } from '../lab/cold.ts'
import { addBlob, addImage, emptyContent, KiB, MiB } from '../lab/content.ts'
import { startGateway } from '../lab/gateway.ts'
import { benchmark, compare, type Row } from '../lab/report.ts'
import { cpuOfAll, inTurn, median, type Series } from '../lab/rounds.ts'
import type { Server } from '../lab/server.ts'
import { makeSite, type Site } from '../lab/site.ts'
import { startRegion } from '../simulation/region.ts'

const connections = 24
const misses = [
  { name: '16 KiB', size: 16 * KiB, count: 60 },
  { name: '4 MiB', size: 4 * MiB, count: 12 },
]
const [only] = process.argv.slice(2)

/** One way to ask for the same: whom, and whose CPU that costs. */
interface Way {
  /** As it is printed. */
  name: string
  gateways: readonly Server[]
  /** Who is asked for a line; anybody by way of the balancer where it is absent. */
  asked?: (line: string) => Server
  port: number
}

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const content = emptyContent()
  const [, , manifest = ''] = addImage(content, '1.0', [KiB, KiB, KiB, KiB, KiB])
  const blob = addBlob(content, MiB)
  const { origin, replicas, balancer } = await startRegion(scope, site, { name: 'three', content })
  const alone = await startGateway(scope, { ...site, originPort: origin.port, name: 'alone' })
  const three = { name: 'three', gateways: replicas, port: balancer.port }
  const one = { name: 'one gateway', gateways: [alone], port: alone.port }
  const rows: Row[] = []
  if (only !== 'cold') {
    rows.push(...(await warm(site, [three, one], 'warm manifest, 1.5 KiB', manifest)))
    rows.push(...(await warm(site, [three, one], 'warm blob, 1 MiB', blob)))
  }
  if (only === 'warm') return rows
  const owners = (line: string): Server[] => ownersOf(replicas, line)
  const byOwner = { ...three, asked: (line: string) => owners(line)[0] as Server }
  const byAnother = { ...three, asked: (line: string) => owners(line)[2] as Server }
  for (const { name, size, count } of misses) {
    // What the owner was asked for is held by then: another one is asked for the other half.
    const blobs = createFreshBlobs(origin, 2 * count, size)
    const ways = [
      { work: `miss asked of its owner, ${name}`, way: byOwner },
      { work: `miss asked of another one, ${name}`, way: byAnother },
    ]
    const costs = await cold(site, [...ways.map(({ way }) => way), one], (at, round) =>
      at === 1 ? blobs(round).slice(count) : blobs(round).slice(0, count),
    )
    for (const [at, { work }] of ways.entries()) {
      for (const { unit, scale, figures } of costs) {
        const series: Series = new Map([
          [balancer, figures[at] ?? []],
          [{ ...alone, name: one.name }, figures[ways.length] ?? []],
        ])
        rows.push(...compare(series, { work, unit, scale, targets: [undefined] }))
      }
    }
  }
  return rows
})

/** The gateways in the order in which they own what a line asks for. */
function ownersOf(replicas: readonly Server[], line: string): Server[] {
  const digest = line.slice(line.lastIndexOf('/') + 1) as Digest
  const addresses = replicas.map(({ port }) => `127.0.0.1:${port}`)
  return rank(addresses, digest).map((address) => replicas[addresses.indexOf(address)] as Server)
}

async function warm(
  { load }: Site,
  ways: readonly Way[],
  work: string,
  line: string,
): Promise<Row[]> {
  const keys = ways.map(({ name, gateways }) => ({ ...(gateways[0] as Server), name }))
  const series = await inTurn(
    keys,
    async (key) => {
      const { gateways, port } = ways[keys.indexOf(key)] as Way
      await load({ kind: 'open', port, connections })
      let requests = 0
      const cpu = await cpuOfAll(gateways, async () => {
        requests = (await load({ kind: 'repeat', lines: [line], seconds: 1.5 })).requests
      })
      await load({ kind: 'close' })
      return cpu / requests
    },
    { rounds: 9, seconds: 60 },
  )
  return compare(series, { work, unit: 'CPU us/request', scale: 1e6, targets: [undefined] })
}

/** Of each way its figures, round by round: CPU, the time of the clock, the first byte. */
async function cold(
  { load }: Site,
  ways: readonly Way[],
  linesOf: (way: number, round: number) => readonly string[],
) {
  const keys = ways.map(({ name, gateways }) => ({ ...(gateways[0] as Server), name }))
  const walls = keys.map((): number[] => [])
  const firsts = keys.map((): number[] => [])
  const cpus = await inTurn(
    keys,
    async (key, round) => {
      const at = keys.indexOf(key)
      const { gateways, asked = () => gateways[0] as Server } = ways[at] as Way
      const lines = linesOf(at, round)
      const firstBytes: number[] = []
      let seconds = 0
      const cpu = await cpuOfAll(gateways, async () => {
        for (const [{ port }, own] of Map.groupBy(lines, asked)) {
          await load({ kind: 'open', port, connections: 1 })
          const result = await load({ kind: 'once', lines: own })
          firstBytes.push(...result.firstBytes)
          seconds += result.seconds
        }
      })
      await load({ kind: 'close' })
      if (round > 0) {
        walls[at]?.push(seconds / lines.length)
        firsts[at]?.push(median(firstBytes))
      }
      return cpu / lines.length
    },
    { rounds: 9, seconds: 60 },
  )
  return [
    { unit: 'CPU ms', scale: 1000, figures: [...cpus.values()] },
    { unit: 'ms', scale: 1000, figures: walls },
    { unit: 'ms to its first byte', scale: 1, figures: firsts },
  ]
}
