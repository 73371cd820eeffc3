// The TLS matrix in containers, from stand-in images, in a Docker engine of the test's own.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { buildStandIns } from '../matrix/stand-ins.ts'
import { gatewayNames } from '../matrix/plan.ts'
import type { Report } from '../matrix/report.ts'
import { optionsFor } from '../requirements.ts'
import { startDocker } from './lab/docker.ts'
import { run } from './lab/program.ts'

const root = join(import.meta.dirname, '../..')
const composeFile = join(root, 'docker-compose.yml')
const minutes = 60_000

t.setTimeout(9 * minutes)

t.test('the networks leave one way only', async (t) => {
  const { services } = parse(readFileSync(composeFile, 'utf8'), { merge: true }) as {
    services: Record<string, { networks: string[] }>
  }
  const meet = (one: string, other: string) => {
    const [first, second] = [services[one]?.networks ?? [], services[other]?.networks ?? []]
    return first.some((network) => second.includes(network))
  }
  t.notOk(meet('runner', 'nginx'))
  for (const gateway of gatewayNames) {
    t.ok(meet('runner', gateway) && meet(gateway, 'nginx') && meet('nginx', 'registry'), gateway)
    t.notOk(meet(gateway, 'registry'), gateway)
  }
})

t.test('in containers', optionsFor('matrix-compose'), async (t) => {
  const { env, docker } = await startDocker(t, { networks: true })

  await t.test('scripts/matrix: every cell is as it must be, nothing is left', async (t) => {
    const args = ['--offline', '--json']
    const { code, stdout, stderr } = await run(join(root, 'scripts/matrix'), args, {
      env,
      timeout: 4 * minutes,
    })
    t.equal(code, 0, stderr)
    const { form, passed, failed } = JSON.parse(stdout) as Report
    t.same({ form, passed, failed }, { form: 'compose', passed: 42, failed: 0 })
    t.equal((await docker('ps', '--all', '--quiet')).stdout, '')
    t.equal((await docker('volume', 'ls', '--quiet')).stdout, '')
  })

  await t.test('compose alone, with one broken certificate: it fails by name', async (t) => {
    const settings = {
      env: { ...env, ...(await buildStandIns(env)), MATRIX_BREAK: 'one-way' },
      timeout: 4 * minutes,
    }
    const compose = (...args: string[]) =>
      run('docker-compose', ['-p', 'broken', '-f', composeFile, ...args], settings)
    t.teardown(() => compose('down', '--volumes', '--timeout', '1'))
    const up = ['up', '--no-color', '--abort-on-container-exit', '--exit-code-from', 'runner']
    const { code, stdout } = await compose(...up)
    t.equal(code, 1)
    t.match(stdout, '✗ one-way secure × one-way: expected pulled, got expired')
    t.match(stdout, /39 cells as expected, 3 not/)
  })
})
