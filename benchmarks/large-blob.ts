// What does a large blob cost that the cache holds, with few connections and with many?
import { addBlob, emptyContent, GiB, MiB } from './lab/content.ts'
import { benchmark, compare } from './lab/report.ts'
import { makeSite } from './lab/site.ts'
import { measureWarm, startServers } from './lab/warm.ts'

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const content = emptyContent()
  const lines = [addBlob(content, 64 * MiB)]
  const servers = await startServers(scope, site, content, ['nginx', 'registry'])
  const few = await measureWarm(site, servers, { lines, connections: 8, per: 'bytes', rounds: 4 })
  const many = await measureWarm(site, servers, { lines, connections: 32, per: 'bytes', rounds: 3 })
  const unit = { unit: 'CPU s/GiB', scale: GiB }
  return [
    ...compare(few, { work: 'warm blob, 64 MiB, 8 at once', ...unit, targets: [0.7, 0.75] }),
    ...compare(many, { work: 'the same, 32 at once', ...unit, targets: [undefined, 1] }),
  ]
})
