// Is this version cheaper than another one? `node benchmarks/against.ts CHECKOUT [warm|miss]`
import { resolve } from 'node:path'
import { createFreshBlobs } from './lab/cold.ts'
import { addBlob, addImage, emptyContent, GiB, KiB, MiB } from './lab/content.ts'
import { startGateway } from './lab/gateway.ts'
import { startOrigin } from './lab/nginx.ts'
import { benchmark, compare, type Row } from './lab/report.ts'
import { cpuOf, inTurn } from './lab/rounds.ts'
import { makeSite } from './lab/site.ts'
import { measureWarm } from './lab/warm.ts'

const [checkout, only] = process.argv.slice(2)
if (checkout === undefined) throw new Error('name the folder of the other version')

const cold = { count: 4, size: 64 * MiB }

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const content = emptyContent()
  const [, , manifest = ''] = addImage(content, '1.0', [KiB, KiB, KiB, KiB, KiB])
  const [small, large] = [addBlob(content, 40 * KiB), addBlob(content, 64 * MiB)]
  const origin = await startOrigin(scope, { ...site, content })
  const behind = { ...site, originPort: origin.port }
  const servers = [
    await startGateway(scope, behind),
    await startGateway(scope, { ...behind, checkout: resolve(checkout) }),
  ]
  const rows: Row[] = []
  const warm = async (work: string, line: string, per: 'requests' | 'bytes') => {
    const settings = { lines: [line], connections: per === 'bytes' ? 8 : 16, per, rounds: 7 }
    const series = await measureWarm(site, servers, settings)
    const unit =
      per === 'bytes' ? { unit: 'CPU s/GiB', scale: GiB } : { unit: 'CPU us/request', scale: 1e6 }
    rows.push(...compare(series, { work, ...unit, targets: [undefined] }))
  }
  if (only !== 'miss') {
    await warm('warm manifest, 1.5 KiB', manifest, 'requests')
    await warm('warm blob, 40 KiB', small, 'requests')
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
  return rows
})
