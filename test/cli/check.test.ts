// `portcullis check` as a process: output, warnings and exit codes.
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { makeSite } from '../helpers/listener.ts'

const main = join(import.meta.dirname, '../../src/main.ts')

function check(args: string[], env: NodeJS.ProcessEnv = {}) {
  return spawnSync(process.execPath, [main, 'check', ...args], { encoding: 'utf8', env })
}

t.test('prints the effective config, by option or by environment', async (t) => {
  const { folder } = await makeSite(t)
  const file = join(folder, 'gateway.yaml')
  writeFileSync(
    file,
    `listen: { tls: { cert: server.crt, key: server.key } }
upstreams:
  registry.local:
    auth: { username: robot, passwordEnv: REGISTRY_PASSWORD }
    tls: { verify: false }
`,
  )
  const byOption = check(['--config', file], { REGISTRY_PASSWORD: 'hunter2' })
  t.equal(byOption.status, 0)
  t.match(byOption.stdout, /url: https:\/\/registry\.local/)
  t.match(byOption.stdout, /passwordEnv: REGISTRY_PASSWORD/)
  t.notMatch(byOption.stdout + byOption.stderr, /hunter2/)
  t.match(byOption.stderr, /^warning: upstreams\.registry\.local\.tls\.verify: /)
  const byEnvironment = check([], { REGISTRY_PASSWORD: 'hunter2', PORTCULLIS_CONFIG: file })
  t.equal(byEnvironment.stdout, byOption.stdout)
})

t.test('problems of the config and of its files: exit code 2, a line each', async (t) => {
  const { folder, client } = await makeSite(t)
  const file = join(folder, 'gateway.yaml')
  writeFileSync(file, 'listen: { port: -1 }\nofline: true\n')
  const config = check(['--config', file])
  t.equal(config.status, 2)
  t.equal(config.stdout, '')
  t.match(config.stderr, /^listen\.port: .*\nofline: .*\n$/)

  writeFileSync(join(folder, 'server.key'), client.keyPem)
  writeFileSync(file, 'listen: { tls: { cert: server.crt, key: server.key } }\n')
  const files = check(['--config', file])
  t.equal(files.status, 2)
  t.equal(files.stderr, 'listen.tls.key: does not belong to the certificate in cert\n')
})

t.test('a wrong command line: exit code 2', async (t) => {
  t.match(check([]), { status: 2, stderr: /^--config: is missing/ })
  t.match(check(['--config', '/nowhere/gateway.yaml']), { status: 2, stderr: /does not exist/ })
  t.match(check(['--wrong']), { status: 2 })
})
