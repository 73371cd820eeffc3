// What a start loads: packages that few gateways need, or nobody before the first request, wait until then.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'

const root = join(import.meta.dirname, '..')

/** Writes the URL of every module that was loaded into the file of its first argument. */
const hook = `
import { registerHooks } from 'node:module'
import { writeFileSync } from 'node:fs'
const loaded = new Set()
registerHooks({ load(url, context, next) { loaded.add(url); return next(url, context) } })
process.on('exit', () => writeFileSync(process.env.LOADED, JSON.stringify([...loaded])))
`

/** There were 1,383 when this was written. */
const mostModules = 1450

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

t.test('a start loads what every gateway needs', { timeout: 120_000 }, async (t) => {
  const folder = t.testdir({
    'gateway.yaml': `
listen: { host: 127.0.0.1, port: 0, insecureHttp: true }
admin: { port: 0 }
cache: { dir: cache }
upstreams: { a.example: { url: 'https://127.0.0.1:1' } }
`,
  })
  const file = join(folder, 'loaded.json')
  const load = `data:text/javascript,${encodeURIComponent(hook)}`
  const serve = ['src/main.ts', 'serve', '--config', join(folder, 'gateway.yaml')]
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
  const loaded = JSON.parse(readFileSync(file, 'utf8')) as string[]
  t.ok(
    loaded.some((url) => url.endsWith('/node_modules/pino/pino.js')),
    'they are seen',
  )
  t.ok(loaded.length <= mostModules, `${loaded.length} modules, ${mostModules} at most`)
  for (const name of whenUsed) {
    const first = loaded.find((url) => url.includes(`/node_modules/${name}`))
    t.equal(first, undefined, `${name} is not among them`)
  }
})
