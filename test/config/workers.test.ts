import { availableParallelism } from 'node:os'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { effectiveConfig, loadConfig } from '../../src/config/load.ts'
import { fixedKeys } from '../../src/config/restart-keys.ts'
import { forOneOf } from '../../src/config/workers/parts.ts'
import { problemsOf } from '../helpers/problems.ts'

async function load(t: Test, text: string) {
  const file = join(t.testdir(), 'gateway.yaml')
  writeFileSync(file, `listen: { insecureHttp: true }\n${text}`)
  return loadConfig(file)
}

t.test('one unless told, a number, or as many as there are cores', async (t) => {
  t.equal((await load(t, '')).workers, 1)
  t.equal((await load(t, 'workers: 2')).workers, 2)
  const auto = await load(t, 'workers: auto')
  t.equal(auto.workers, availableParallelism())
  t.match(effectiveConfig(auto), `workers: ${availableParallelism()}`)
})

t.test('what cannot be is told', async (t) => {
  for (const wrong of ['0', '-1', '1.5', 'many', '[]']) {
    t.match(await problemsOf(load(t, `workers: ${wrong}`)), [
      { path: 'workers', message: /must be a whole number from 1, or auto/ },
    ])
  }
  t.match(await problemsOf(load(t, 'workers: 1000')), [
    { path: 'workers', message: /is more than \d+, 4 for each core/ },
  ])
  const shared = 'cache: { shared: { s3: { bucket: images, credentials: {} } } }'
  t.match(await problemsOf(load(t, `workers: 2\n${shared}`)), [
    { path: 'workers', message: /beside cache.shared/ },
  ])
  t.match(await problemsOf(load(t, 'workers: 2\naudit: { file: /dev/fd/3 }')), [
    { path: 'workers', message: /name a file/ },
  ])
})

t.test('on other systems than Linux there is one', async (t) => {
  const { platform } = process
  t.teardown(() => Object.defineProperty(process, 'platform', { value: platform }))
  for (const value of ['freebsd', 'darwin']) {
    Object.defineProperty(process, 'platform', { value })
    t.match(await problemsOf(load(t, 'workers: 2')), [
      { path: 'workers', message: `needs Linux, where processes share a port; ${value} has 1` },
    ])
  }
})

t.test('each has a part of what is for all, and keeps to it after a reload', async (t) => {
  const text = `workers: 2
cache: { memoryBytes: 100MiB }
upstreams:
  registry.test: { maxRate: 8MiB/s }
  other.test: { maxRate: { '08-18': 5Mbit/s } }`
  const config = await load(t, text)
  const one = forOneOf(2, config)
  t.equal(one.cache.memoryBytes, 50 * 2 ** 20)
  t.equal(one.upstreams['registry.test']?.maxRate, 4 * 2 ** 20)
  t.same(one.upstreams['other.test']?.maxRate, { '08-18': 312_500 })
  t.equal(one.listen.limits.connections, 10_000)
  t.equal(one.listen.limits.connectionsPerAddress, 5000)
  t.same(fixedKeys(one, forOneOf(2, await load(t, text))), [])
  const more = forOneOf(2, await load(t, text.replace('workers: 2', 'workers: 3')))
  t.match(fixedKeys(one, more), [{ path: 'workers', message: /restart/ }])
})
