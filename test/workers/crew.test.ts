// A worker whose process the system does not start: its place is tried again, and the reason told.
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { createCrew } from '../../src/cli/workers/crew.ts'
import { loadConfig } from '../../src/config/load.ts'
import { writeConfig } from '../e2e/lab/gateway.ts'
import { exhaustDescriptors } from '../helpers/limits.ts'
import { recordingLog } from '../helpers/listener.ts'
import { optionsFor } from '../requirements.ts'
import { until } from './site.ts'

const limit = { timeout: 120_000 }
const program = process.execPath
t.afterEach(() => void (process.execPath = program))

async function prepareCrew(t: Test) {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  await new Promise((resolve) => probe.close(resolve))
  const file = writeConfig(t, {
    workers: 2,
    listen: { host: '127.0.0.1', port, insecureHttp: true },
    admin: { port: 0 },
  })
  const { log, lines } = recordingLog()
  const told: string[] = []
  const crew = createCrew({
    file,
    config: await loadConfig(file),
    port,
    logger: log,
    onLines: (text) => told.push(...text.trim().split('\n')),
  })
  t.teardown(crew.kill)
  const pids = () =>
    told
      .map((line) => JSON.parse(line) as { msg: string; pid: number })
      .filter(({ msg }) => msg === 'listening')
      .map(({ pid }) => pid)
  const killSecond = async () => {
    await until('both have told that they serve', () => pids().length === 2)
    process.kill(Number(pids()[1]), 'SIGKILL')
  }
  return { crew, lines, pids, killSecond }
}

const isTold = (code: string) => (line: Record<string, unknown>) =>
  line['msg'] === 'a worker cannot be started' && (line['err'] as { code: string }).code === code

t.test('the first of all cannot be started: so the gateway ends', limit, async (t) => {
  const { crew, lines } = await prepareCrew(t)
  process.execPath = '/nowhere/node'
  void crew.begin()
  t.same(await crew.hasFailed, { code: 1 })
  t.ok(lines.some(isTold('ENOENT')))
  t.equal(await crew.end('SIGTERM'), 1)
})

t.test('one that cannot be started for a while is, afterwards', limit, async (t) => {
  const { crew, lines, pids, killSecond } = await prepareCrew(t)
  await crew.begin()
  process.execPath = '/nowhere/node'
  await killSecond()
  await until('it is tried', () => lines.some(isTold('ENOENT')))
  process.execPath = program
  await until('it is there again', () => pids().length === 3)
  t.equal(await crew.end('SIGTERM'), 0)
})

t.test(
  'nor is it the end where no descriptor is left for it',
  { ...limit, ...optionsFor('storing') },
  async (t) => {
    const { crew, lines, pids, killSecond } = await prepareCrew(t)
    await crew.begin()
    const giveBack = exhaustDescriptors()
    try {
      await killSecond()
      await until('it is tried', () => lines.some(isTold('EMFILE')))
    } finally {
      giveBack()
    }
    await until('it is there again', () => pids().length === 3)
    t.equal(await crew.end('SIGTERM'), 0)
  },
)
