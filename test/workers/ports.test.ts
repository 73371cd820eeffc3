// A worker keeps to the ports that all have, and another one in the config is a change that needs a restart.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ownOf } from '../../src/cli/workers/worker.ts'
import { loadConfig } from '../../src/config/load.ts'
import { fixedKeys } from '../../src/config/restart-keys.ts'

async function load(t: Test, port: number, adminPort: number) {
  const file = join(t.testdir(), 'gateway.yaml')
  writeFileSync(
    file,
    `listen: { insecureHttp: true, port: ${port} }\nadmin: { port: ${adminPort} }\nworkers: 2\n`,
  )
  return loadConfig(file)
}

const facts = { number: 1, sockets: ['one', 'two'], port: 50_000 }

t.test('the ports that were found, after a reload too', async (t) => {
  const own = ownOf({ ...facts, adminPort: 50_001 })
  const config = own(await load(t, 0, 0))
  t.match(config, { listen: { port: 50_000 }, admin: { port: 50_001 } })
  t.same(fixedKeys(config, own(await load(t, 0, 0))), [])
})

t.test('others are told', async (t) => {
  const own = ownOf(facts)
  const config = own(await load(t, 5000, 5001))
  t.match(config, { listen: { port: 50_000 }, admin: { port: 5001 } })
  const told = fixedKeys(config, own(await load(t, 6000, 6001))).map(({ path }) => path)
  t.same(told, ['listen.port', 'admin.port'])
})
