// `portcullis doctor`: tables, JSON as documented, exit codes, and nothing secret.
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runCommand, type CommandResult } from '../helpers/command.ts'
import { makeFiles, sample, serverOf } from '../helpers/diagnosis.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { startProxy } from '../helpers/proxy.ts'
import { testPki } from '../helpers/tls.ts'
import { tokenAuth } from '../helpers/token-auth.ts'
import { startUpstream, status, type Fault } from '../helpers/upstream.ts'

const reference = join(import.meta.dirname, '../../docs/reference/doctor.md')
const pki = await testPki()
const credentials = { username: 'robot', password: 'correct horse' }

const doctor = (...args: string[]) => runCommand(['doctor', ...args])

/** As a process of its own: Node reads this of its environment when it starts. */
function doctorTrusting(ca: string, ...args: string[]): Promise<CommandResult> {
  const main = join(import.meta.dirname, '../../src/main.ts')
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: ca }
  return new Promise((resolve) => {
    execFile(process.execPath, [main, 'doctor', ...args], { env }, (error, stdout, stderr) => {
      resolve({ status: typeof error?.code === 'number' ? error.code : 0, stdout, stderr })
    })
  })
}

/** A config with `good.local`, which works, and `bad.local`, whose CA is another. */
async function makeSite(t: Test, faults: Fault[] = [tokenAuth({ credentials }).fault]) {
  const { ca, otherCa, password } = await makeFiles(t)
  const tls = serverOf(pki.server)
  const { port } = await startUpstream(t, { repositories: { app: sample }, tls, faults })
  const file = join(t.testdir({}), 'gateway.yaml')
  const url = `https://localhost:${port}`
  const auth = `auth: { username: robot, passwordFile: ${password} }`
  writeFileSync(
    file,
    `listen: { insecureHttp: true }
upstreams:
  good.local: { url: '${url}', tls: { ca: ${ca} }, ${auth} }
  bad.local: { url: '${url}', tls: { ca: ${otherCa} }, ${auth} }
`,
  )
  return file
}

t.test('tables and sentences; exit code 1 where one upstream does not work', async (t) => {
  const file = await makeSite(t)
  const all = await doctor('--config', file)
  t.equal(all.status, 1)
  t.equal(all.stderr, '')
  t.match(all.stdout, /^good\.local: https:\/\/localhost:\d+, one-way secure$/m)
  t.match(all.stdout, /^manifest +ok +\d+\.\d +app:1\.0: sha256:/m)
  t.match(all.stdout, /^CN=localhost +CN=Test CA +localhost, 127\.0\.0\.1, \S+ +\d+$/m)
  t.match(all.stdout, /^two-way secure +untried +the config has no client certificate$/m)
  t.match(all.stdout, /^As configured, it works\.$/m)
  t.match(all.stdout, /^Failed: the upstream bad\.local .*; check upstreams\.bad\.local\.tls\.ca$/m)
  const good = await doctor('--config', file, 'good.local')
  t.equal(good.status, 0)
  t.notMatch(good.stdout, 'bad.local')
  t.notMatch(all.stdout + good.stdout, /correct horse|token-\d/)
})

t.test('every endpoint is tried, a gateway with its namespace', async (t) => {
  const upstream = await startUpstream(t, { repositories: { app: sample } })
  const region = await startTestGateway(t, `upstreams: { up.test: { url: '${upstream.url}' } }`, {
    clientAuth: 'required',
    files: { 'site.crt': pki.client.certificatePem, 'site.key': pki.client.keyPem },
  })
  const file = join(region.folder, 'site.yaml')
  const tls = 'tls: { ca: ca.crt, cert: site.crt, key: site.key }'
  writeFileSync(
    file,
    `listen: { insecureHttp: true }
upstreams:
  up.test:
    endpoints: [{ url: '${region.url}', gateway: true, ${tls} }, { url: '${upstream.url}' }, { url: '${region.url}', tls: { ca: ca.crt } }]
`,
  )
  const image = ['--image', 'app:1.0']
  const { status, stdout } = await doctor('--config', file, 'up.test', ...image)
  t.equal(status, 1)
  t.match(stdout, /^up\.test: https:\/\/localhost:\d+, another gateway, two-way secure$/m)
  t.match(stdout, /^up\.test: http:\/\/127\.0\.0\.1:\d+, plain$/m)
  t.equal(stdout.match(/^manifest +ok/gm)?.length, 2)
  t.match(stdout, /^Failed: .*client certificate; check upstreams\.up\.test\.endpoints\.2\.tls/m)
  const told = JSON.parse((await doctor('--config', file, '--json', ...image)).stdout) as object
  t.match(told, { upstreams: [{ gateway: true, ok: true }, { gateway: false }, { ok: false }] })
})

t.test('--json is as the reference says', async (t) => {
  const file = await makeSite(t)
  const { status, stdout, stderr } = await doctor('--config', file, '--json')
  t.equal(status, 1)
  t.equal(stderr, '')
  const told = JSON.parse(stdout) as object
  t.match(told, {
    ok: false,
    upstreams: [
      { upstream: 'good.local', ok: true, steps: [{ step: 'dns' }, { step: 'tcp' }] },
      { upstream: 'bad.local', ok: false },
    ],
  })
  const text = readFileSync(reference, 'utf8')
  const [, example = ''] = /```json\n(.*?)```/s.exec(text) ?? []
  t.strictSame(shapeOf(told), shapeOf(JSON.parse(example) as object))
})

/** Every path to a value, such as `upstreams[].steps[].ms`. */
function shapeOf(value: unknown, path = ''): string[] {
  const below = Array.isArray(value)
    ? value.flatMap((entry) => shapeOf(entry, `${path}[]`))
    : typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([key, entry]) => shapeOf(entry, `${path}.${key}`))
      : [`${path}: ${typeof value}`]
  return [...new Set(below)].sort()
}

t.test('--image', async (t) => {
  const file = await makeSite(t)
  const found = await doctor('--config', file, 'good.local', '--image', 'app')
  t.equal(found.status, 0)
  t.match(found.stdout, /manifest +ok .* app:latest: /)
  const missing = await doctor('--config', file, 'good.local', '--image', 'app:none')
  t.equal(missing.status, 1)
  t.match(missing.stdout, /^Failed: .*has no app:none/m)
  t.match(await doctor('--config', file, '--image', 'app'), {
    status: 2,
    stderr: /^--image: is of one upstream/,
  })
  t.match(await doctor('--config', file, 'good.local', '--image', '../x'), {
    status: 2,
    stderr: /^--image: "\.\.\/x" is no REPOSITORY\[:TAG\] of good\.local/,
  })
})

t.test('a wrong command line: exit code 2', async (t) => {
  const file = await makeSite(t)
  t.match(await doctor('--config', file, 'good.local', 'none.local'), {
    status: 2,
    stdout: '',
    stderr: 'none.local: is no configured upstream; there are good.local, bad.local\n',
  })
  t.match(await doctor(), { status: 2, stderr: /^--config: is missing/ })
  const empty = join(t.testdir({ 'empty.yaml': 'listen: { insecureHttp: true }\n' }), 'empty.yaml')
  t.match(await doctor('--config', empty), { status: 2, stderr: /^upstreams: is empty/ })
  writeFileSync(
    empty,
    'upstreams: { a: { tls: { ca: none.crt } } }\nlisten: { insecureHttp: true }\n',
  )
  t.match(await doctor('--config', empty), {
    status: 2,
    stderr: /^upstreams\.a\.tls\.ca: cannot read .*none\.crt: there is no such file$/m,
  })
})

t.test('an upstream cannot write to the terminal', async (t) => {
  const file = await makeSite(t, [status(500, {}, 'red \u001b[31m \u009b31m \u202e text')])
  const { stdout } = await doctor('--config', file, 'good.local')
  t.match(stdout, 'status 500: red')
  t.notMatch(stdout, /[^\P{Cc}\n]|\p{Cf}/u)

  const long = await makeSite(t, [status(500, {}, 'x'.repeat(1000))])
  const clipped = await doctor('--config', long, 'good.local')
  t.match(clipped.stdout, /^http +failed +[0-9.]+ +status 500: x{100,150}…$/m)
})

t.test('a proxy behind TLS', async (t) => {
  const { ca } = await makeFiles(t)
  const tls = serverOf(pki.server)
  const { port } = await startUpstream(t, { repositories: { app: sample }, tls })
  const proxy = await startProxy(t, { tls })
  const file = join(t.testdir({}), 'gateway.yaml')
  const upstream = { url: `https://localhost:${port}`, tls: { ca }, proxy: proxy.url }
  writeFileSync(
    file,
    JSON.stringify({ listen: { insecureHttp: true }, upstreams: { a: upstream } }),
  )
  // Proxies are checked by the public roots, to which this adds one.
  const trusted = await doctorTrusting(ca, '--config', file)
  t.equal(trusted.status, 0, trusted.stdout)
  t.match(trusted.stdout, new RegExp(`^proxy +ok +[0-9.]+ +tunnel to localhost:${port}$`, 'm'))
  const strange = await doctor('--config', file)
  t.equal(strange.status, 1)
  t.match(strange.stdout, /^proxy +failed .*certificate/m)
  t.match(strange.stdout, /^Failed: .*; check upstreams\.a\.proxy$/m)
})
