// What does a manifest of 1.5 KiB cost that the cache holds?
import { addImage, emptyContent, KiB } from './lab/content.ts'
import { benchmark, compare } from './lab/report.ts'
import { makeSite } from './lab/site.ts'
import { measureWarm, startServers } from './lab/warm.ts'

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const content = emptyContent()
  const [, , manifest = ''] = addImage(content, '1.0', [KiB, KiB, KiB, KiB, KiB])
  const servers = await startServers(scope, site, content, ['nginx', 'registry'])
  const series = await measureWarm(site, servers, {
    lines: [manifest],
    connections: 16,
    per: 'requests',
  })
  return compare(series, {
    work: 'warm manifest, 1.5 KiB',
    unit: 'CPU us/request',
    scale: 1e6,
    targets: [2.3, 1 / 20],
  })
})
