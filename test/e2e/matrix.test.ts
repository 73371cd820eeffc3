// The TLS matrix on this machine's nginx and docker-registry, as scripts/matrix runs it.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { clientAuths, clientNames, modes, situations } from '../matrix/plan.ts'
import type { Report } from '../matrix/report.ts'
import { optionsFor } from '../requirements.ts'
import { run } from './lab/program.ts'

const script = join(import.meta.dirname, '../../scripts/matrix')
const matrix = (...args: string[]) => run(script, args, { timeout: 110_000 })

t.test('every cell is as it must be', optionsFor('matrix'), async (t) => {
  const junit = join(t.testdir(), 'matrix.xml')
  const { code, stdout, stderr } = await matrix('--native', '--json', '--junit', junit)
  t.equal(stderr, '')
  t.equal(code, 0)
  const { passed, failed, cells } = JSON.parse(stdout) as Report
  const expected = modes.length * situations.length + clientAuths.length * clientNames.length
  t.same({ passed, failed }, { passed: expected, failed: 0 })
  const names = cells.map(({ row, column }) => `${row} × ${column}`)
  t.equal(new Set(names).size, expected, 'each of them once')
  t.equal(readFileSync(junit, 'utf8').match(/<testcase /g)?.length, expected)
})

t.test('broken certificates make it fail, by name', optionsFor('matrix'), async (t) => {
  // One that must be good has expired, one that must be refused is good.
  const { code, stdout } = await matrix('--native', '--break', 'two-way', '--break', 'wrong-name')
  t.equal(code, 1)
  const complaints = stdout.split('\n').filter((line) => line.startsWith('✗'))
  t.same(complaints, [
    '✗ one-way secure × two-way: expected client_certificate_required, got expired',
    '✗ one-way secure × wrong name: expected wrong_name, got pulled',
    '✗ two-way secure × two-way: expected pulled, got expired',
    '✗ two-way secure × wrong name: expected wrong_name, got pulled',
    '✗ two-way, wrong CA × two-way: expected client_certificate_refused, got expired',
    '✗ two-way, wrong CA × wrong name: expected wrong_name, got pulled',
  ])
  t.match(stdout, /^31 cells as expected, 6 not$/m)
})

t.test('what cannot be run says why', optionsFor('matrix'), async (t) => {
  const server = createServer()
  await once(server.listen(0), 'listening')
  t.teardown(() => server.close())
  const taken = String((server.address() as AddressInfo).port)
  const port = await matrix('--native', '--first-port', taken)
  t.match(port, {
    code: 1,
    stdout: '',
    stderr: `port ${taken}, meant for docker-registry, is taken`,
  })

  const unknown = await matrix('--break', 'three-way')
  t.match(unknown, { code: 2, stderr: /--break: three-way is no situation.* one-way, two-way/ })
  t.match(await matrix('--bogus'), { code: 2, stderr: '--bogus' })

  const env = { DOCKER_HOST: `unix://${join(t.testdir(), 'no.sock')}` }
  const engine = await run(script, [], { env })
  t.match(engine, { code: 1, stdout: '', stderr: /no Docker engine answers.*matrix --native/ })
})
