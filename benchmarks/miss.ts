// What does a blob cost that has to be fetched, while it is passed on and verified?
import { createFreshBlobs, startCaches } from './lab/cold.ts'
import { GiB, MiB } from './lab/content.ts'
import { startRegistryCache } from './lab/registry.ts'
import { benchmark, compare } from './lab/report.ts'
import { cpuOf, inTurn } from './lab/rounds.ts'
import { makeSite } from './lab/site.ts'

const count = 4
const size = 64 * MiB

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const { origin, gateway, nginx } = await startCaches(scope, site)
  const registry = await startRegistryCache(scope, { ...site, originPort: origin.openPort })
  const blobs = createFreshBlobs(origin, count, size)
  const series = await inTurn(
    [gateway, nginx, registry],
    async (server, round) => {
      const lines = blobs(round)
      await site.load({ kind: 'open', port: server.port, connections: count })
      const cpu = await cpuOf(server, async () => site.load({ kind: 'once', lines }))
      return cpu / (count * size)
    },
    { rounds: 5, seconds: 35 },
  )
  return compare(series, {
    work: `miss, ${count} blobs of 64 MiB at once`,
    unit: 'CPU s/GiB',
    scale: GiB,
    targets: [1.3, 0.65],
  })
})
