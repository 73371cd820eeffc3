import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { importAtStart } from '../../src/transfer/at-start.ts'
import { craneFiles, sample, tarWith } from '../helpers/archives.ts'
import { inspectCache } from '../helpers/cache-folder.ts'

t.test('cache.import: what is there is imported, what is not is warned of', async (t) => {
  const folder = t.testdir({
    'gateway.yaml': `listen: { insecureHttp: true }
cache: { dir: cache, import: [app.tar, nowhere.tar] }
upstreams: { registry.local: {} }
defaultUpstream: registry.local
`,
    'app.tar': await tarWith(craneFiles(sample(), ['app:1'])),
  })
  const lines: object[] = []
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line) as object) })
  const config = await loadConfig(join(folder, 'gateway.yaml'))
  await importAtStart(config, log)
  t.match(lines, [
    { level: 30, msg: 'imported', images: ['registry.local/app:1'], path: join(folder, 'app.tar') },
    { level: 40, msg: 'import failed', problem: /nowhere\.tar: does not exist/ },
  ])
  t.same(Object.keys(inspectCache(join(folder, 'cache')).tags), ['registry.local/app:1'])
  await importAtStart(config, log)
  t.match(lines[2], { msg: 'imported', written: 0 })
})
