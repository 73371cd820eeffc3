// What do two workers cost, and what do they give? Beside one process that does the same work.
import { createFreshBlobs } from '../lab/cold.ts'
import { addBlob, addImage, emptyContent, GiB, KiB, MiB } from '../lab/content.ts'
import { memoryBytes } from '../lab/cpu.ts'
import { startGateway } from '../lab/gateway.ts'
import { startOrigin } from '../lab/nginx.ts'
import { benchmark, beside, compare, type Row } from '../lab/report.ts'
import { cpuOf, inTurn, type Series } from '../lab/rounds.ts'
import type { Server } from '../lab/server.ts'
import { makeSite } from '../lab/site.ts'

const cold = { count: 4, size: 64 * MiB }
const [only] = process.argv.slice(2)

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const content = emptyContent()
  const [, , manifest = ''] = addImage(content, '1.0', [KiB, KiB, KiB, KiB, KiB])
  const large = addBlob(content, 64 * MiB)
  const origin = await startOrigin(scope, { ...site, content })
  const behind = { ...site, originPort: origin.port }
  const servers = [
    await startGateway(scope, { ...behind, name: 'two workers', workers: 2 }),
    await startGateway(scope, { ...behind, name: 'one process' }),
  ]
  const rows: Row[] = [memory('resident at start', servers)]

  /** CPU, and what was done in a second of the clock. */
  async function warm(work: string, line: string, per: 'requests' | 'bytes'): Promise<void> {
    const rates: Series = new Map(servers.map((server) => [server, []]))
    const connections = per === 'bytes' ? 8 : 32
    const costs = await inTurn(
      servers,
      async (server, round) => {
        await site.load({ kind: 'open', port: server.port, connections })
        const done = { requests: 0, bytes: 0 }
        let seconds = 0
        const cpu = await cpuOf(server, async () => {
          const begun = performance.now()
          Object.assign(done, await site.load({ kind: 'repeat', lines: [line], seconds: 1.5 }))
          seconds = (performance.now() - begun) / 1000
        })
        await site.load({ kind: 'close' })
        if (round > 0) rates.get(server)?.push(done[per] / seconds)
        return cpu / done[per]
      },
      { rounds: 7, seconds: 40 },
    )
    const units =
      per === 'bytes'
        ? [
            { unit: 'CPU s/GiB', scale: GiB },
            { unit: 'GiB/s', scale: 1 / GiB },
          ]
        : [{ unit: 'CPU us/request', scale: 1e6 }, { unit: 'requests/s' }]
    for (const [index, series] of [costs, rates].entries()) {
      rows.push(...compare(series, { work, unit: '', ...units[index], targets: [undefined] }))
    }
  }

  if (only !== 'cold') {
    await warm('warm manifest, 1.5 KiB', manifest, 'requests')
    await warm('warm blob, 64 MiB, 8 at once', large, 'bytes')
  }
  if (only !== 'warm') {
    const blobs = createFreshBlobs(origin, cold.count, cold.size)
    const series = await inTurn(
      servers,
      async ({ port, pid }, round) => {
        const lines = blobs(round)
        await site.load({ kind: 'open', port, connections: cold.count })
        const cpu = await cpuOf({ pid }, async () => site.load({ kind: 'once', lines }))
        return cpu / (cold.count * cold.size)
      },
      { rounds: 7, seconds: 40 },
    )
    const work = `miss, ${cold.count} blobs of 64 MiB at once`
    rows.push(...compare(series, { work, unit: 'CPU s/GiB', scale: GiB, targets: [undefined] }))
  }
  return [...rows, memory('resident after this work', servers)]
})

function memory(work: string, servers: readonly Server[]): Row {
  const [ours = 0, theirs = 0] = servers.map(({ pid }) => memoryBytes(pid) / MiB)
  return beside({ work, unit: 'MiB', ours, theirs, peer: 'one process', target: undefined })
}
