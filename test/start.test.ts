// What a start loads: packages that few gateways need, or nobody before the first request, wait until then.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { makeBuild } from './helpers/build.ts'

const root = join(import.meta.dirname, '..')

/** Writes the URL of every module that was loaded, and the names of those of Node's own, into the file `LOADED`. */
const hook = `
import { registerHooks } from 'node:module'
import { writeFileSync } from 'node:fs'
const loaded = new Set()
registerHooks({ load(url, context, next) { loaded.add(url); return next(url, context) } })
process.on('exit', () => {
  const own = process.moduleLoadList
  writeFileSync(process.env.LOADED, JSON.stringify({ loaded: [...loaded], own }))
})
`

/** There were 1,361 when this was written; of a build 692. */
const mostModules = 1430
const mostOfBuild = 730

const config = `
listen: { host: 127.0.0.1, port: 0, insecureHttp: true }
admin: { port: 0 }
cache: { dir: cache }
upstreams: { a.example: { url: 'https://127.0.0.1:1' } }
`

const whenUsed = [
  '@aws-sdk',
  '@fastify/swagger-ui',
  '@opentelemetry/sdk-trace',
  '@peculiar/x509',
  'ajv',
  'bcryptjs',
  'fast-json-stringify/index',
  'jose',
  'node-forge',
  'pino-pretty',
  'tldts',
  'undici/index',
]

interface Loaded {
  /** URLs. */
  loaded: string[]
  /** Of Node's own. */
  own: string[]
}

/** What a start of `main` loads, whose config is in `folder`. */
async function loadedBy(t: Test, folder: string, main: string): Promise<Loaded> {
  writeFileSync(join(folder, 'gateway.yaml'), config)
  const file = join(folder, 'loaded.json')
  const load = `data:text/javascript,${encodeURIComponent(hook)}`
  const serve = [main, 'serve', '--config', join(folder, 'gateway.yaml')]
  const gateway = spawn(process.execPath, ['--import', load, ...serve], {
    cwd: root,
    env: { ...process.env, LOADED: file },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => gateway.kill('SIGKILL'))
  let log = ''
  for await (const text of gateway.stdout.setEncoding('utf8')) {
    log += String(text)
    if (log.includes('"msg":"listening"')) break
  }
  const ended = once(gateway, 'exit')
  gateway.kill('SIGTERM')
  await ended
  return JSON.parse(readFileSync(file, 'utf8')) as Loaded
}

t.test('a start loads what every gateway needs', { timeout: 120_000 }, async (t) => {
  const { loaded, own } = await loadedBy(t, t.testdir({}), 'src/main.ts')
  t.ok(
    loaded.some((url) => url.endsWith('/node_modules/pino/pino.js')),
    'they are seen',
  )
  t.ok(loaded.length <= mostModules, `${loaded.length} modules, ${mostModules} at most`)
  for (const name of whenUsed) {
    const first = loaded.find((url) => url.includes(`/node_modules/${name}`))
    t.equal(first, undefined, `${name} is not among them`)
  }
  t.ok(own.includes('NativeModule http'), "Node's own are seen")
  t.notOk(own.includes('NativeModule internal/deps/undici/undici'), 'fetch is not among them')
})

t.test('that of a build no TypeBox', { timeout: 120_000 }, async (t) => {
  const folder = t.testdir({})
  const { loaded } = await loadedBy(t, folder, join(makeBuild(folder), 'main.js'))
  t.ok(
    loaded.some((url) => url.endsWith('/dist/app.js')),
    'it is the build',
  )
  const ofTypeBox = loaded.filter((url) => url.includes('/typebox/'))
  t.same(
    ofTypeBox.filter((url) => !url.includes('/typebox/build/guard/')),
    [],
  )
  t.ok(loaded.length <= mostOfBuild, `${loaded.length} modules, ${mostOfBuild} at most`)
})
