// What does a whole pull cost: HEAD of the tag, index, manifest, config and five small layers?
import { addImage, emptyContent, KiB } from './lab/content.ts'
import { benchmark, compare } from './lab/report.ts'
import { makeSite } from './lab/site.ts'
import { measureWarm, startServers } from './lab/warm.ts'

const pullers = 10
const layers = [2 * KiB, 4 * KiB, 8 * KiB, 16 * KiB, 32 * KiB]

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const content = emptyContent()
  const lines = addImage(content, '1.0', layers)
  const servers = await startServers(scope, site, content, ['registry', 'tuned registry'])
  const series = await measureWarm(site, servers, { lines, connections: pullers, per: 'requests' })
  return compare(series, {
    work: `image pull, ${pullers} pullers`,
    unit: 'CPU ms/image',
    scale: 1e3 * lines.length,
    targets: [1 / 28, 1 / 13],
  })
})
