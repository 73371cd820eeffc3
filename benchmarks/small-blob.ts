// What does a blob of 40 KiB cost that the cache holds?
import { addBlob, emptyContent, KiB } from './lab/content.ts'
import { benchmark, compare } from './lab/report.ts'
import { makeSite } from './lab/site.ts'
import { measureWarm, startServers } from './lab/warm.ts'

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const content = emptyContent()
  const lines = [addBlob(content, 40 * KiB)]
  const servers = await startServers(scope, site, content, ['nginx', 'registry'])
  const series = await measureWarm(site, servers, { lines, connections: 16, per: 'requests' })
  return compare(series, {
    work: 'warm blob, 40 KiB',
    unit: 'CPU us/request',
    scale: 1e6,
    targets: [1.3, undefined],
  })
})
