// How long does the first byte of a blob take that has to be fetched?
import { createFreshBlobs, startCaches } from './lab/cold.ts'
import { MiB } from './lab/content.ts'
import { benchmark, compare } from './lab/report.ts'
import { inTurn, median } from './lab/rounds.ts'
import { makeSite } from './lab/site.ts'

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const { origin, gateway, nginx } = await startCaches(scope, site)
  const blobs = createFreshBlobs(origin, 15, 4 * MiB)
  const series = await inTurn(
    [gateway, nginx],
    async (server, round) => {
      const lines = blobs(round)
      await site.load({ kind: 'open', port: server.port, connections: 1 })
      const { firstBytes } = await site.load({ kind: 'once', lines })
      return median(firstBytes)
    },
    { rounds: 7, seconds: 35 },
  )
  return compare(series, { work: 'first byte of a miss, 4 MiB', unit: 'ms', targets: [1] })
})
