import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import t from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { startImport } from '../../src/transfer/at-start.ts'
import { craneFiles, sample, tarWith } from '../helpers/archives.ts'
import { inspectCache } from '../helpers/cache-folder.ts'

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(10)
}

t.test('cache.import: what is there is imported, what is not is warned of', async (t) => {
  const folder = t.testdir({
    'gateway.yaml': `listen: { insecureHttp: true }
cache: { dir: cache, import: [app.tar, nowhere.tar] }
upstreams: { registry.local: {} }
defaultUpstream: registry.local
`,
    'app.tar': await tarWith(craneFiles(await sample(), ['app:1'])),
  })
  const lines: object[] = []
  const log = pino({}, { write: (line: string) => void lines.push(JSON.parse(line) as object) })
  const config = await loadConfig(join(folder, 'gateway.yaml'))
  const first = startImport(config, log)
  t.match(first.problems(), [/still being imported/])
  await until(() => first.problems().length === 0)
  t.match(lines, [
    { level: 30, msg: 'imported', images: ['registry.local/app:1'], path: join(folder, 'app.tar') },
    { level: 40, msg: 'import failed', problem: /nowhere\.tar: does not exist/ },
  ])
  t.same(Object.keys(inspectCache(join(folder, 'cache')).tags), ['registry.local/app:1'])
  const second = startImport(config, log)
  await until(() => second.problems().length === 0)
  t.match(lines[2], { msg: 'imported', written: 0 })
})

t.test('an end in the middle leaves nothing half done', async (t) => {
  const folder = t.testdir({
    'gateway.yaml': `listen: { insecureHttp: true }
cache: { dir: cache, import: [app.tar] }
upstreams: { registry.local: {} }
defaultUpstream: registry.local
`,
    'app.tar': await tarWith(craneFiles(await sample(), ['app:1'])),
  })
  const config = await loadConfig(join(folder, 'gateway.yaml'))
  const started = startImport(config, pino({ level: 'silent' }))
  await started.close()
  t.same(started.problems(), [])
  const { stored, temporary, tags } = inspectCache(join(folder, 'cache'))
  t.same({ stored, temporary, tags }, { stored: [], temporary: [], tags: {} })
})
