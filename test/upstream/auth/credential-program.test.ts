// Credentials from a docker credential helper: a real program, asked when it is needed.
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { createHelper } from '../../../src/upstream/auth/credential-program.ts'
import { CredentialsUnavailable } from '../../../src/upstream/auth/credentials.ts'
import { ask, startUpstreams } from '../../helpers/ask.ts'
import { tokenAuth } from '../../helpers/token-auth.ts'
import { startUpstream, status } from '../../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 1000 })
const limits = { timeLimit: 10_000, now: Date.now }

/** Puts `docker-credential-test` in PATH; it appends what it is given to `asked`. */
function install(t: Test, script: string) {
  const folder = t.testdir({})
  const program = join(folder, 'docker-credential-test')
  const asked = join(folder, 'asked')
  const replace = (body: string) => {
    const head = `#!/bin/sh\nread server\necho "$1 $server" >> ${asked}\n`
    writeFileSync(program, `${head}${body}\n`)
    chmodSync(program, 0o755)
  }
  replace(script)
  const { PATH = '' } = process.env
  process.env['PATH'] = `${folder}:${PATH}`
  t.teardown(() => {
    process.env['PATH'] = PATH
  })
  return {
    folder,
    replace,
    asked: () => (existsSync(asked) ? readFileSync(asked, 'utf8').trim().split('\n') : []),
  }
}

const print = (Username: string, Secret: string) =>
  `echo '${JSON.stringify({ ServerURL: 'x', Username, Secret })}'`

t.test('it is asked by its protocol, and once for many', async (t) => {
  const { asked } = install(t, print('AWS', 'secret'))
  const source = createHelper('test', 'registry.local', 'https://registry.local:5000/x', limits)
  t.same(asked(), [], 'not before it is needed')
  const expected = { kind: 'password', username: 'AWS', password: 'secret' }
  t.same(await Promise.all([source.get(), source.get()]), [expected, expected])
  t.same(await source.get(), expected)
  t.same(asked(), ['get registry.local:5000'])
})

t.test('Docker Hub has its old name, and a user called <token> an identity token', async (t) => {
  const { asked } = install(t, print('<token>', 'refresh-me'))
  const source = createHelper('test', 'docker.io', 'https://registry-1.docker.io', limits)
  t.same(await source.get(), { kind: 'identity', token: 'refresh-me' })
  t.same(asked(), ['get https://index.docker.io/v1/'])
})

t.test('it is asked again before they end, and when they are refused', async (t) => {
  let now = 1_000_000_000_000
  const inOneHour = now / 1000 + 3600
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  for (const [secret, life] of [
    ['opaque', 15 * 60_000],
    [`e30.${encode({ exp: now / 1000 + 300 })}.c2ln`, 4 * 60_000],
    [encode({ payload: 'x', expiration: now / 1000 + 300 }), 4 * 60_000],
    [`e30.${encode({ exp: inOneHour })}.c2ln`, 15 * 60_000],
    [`e30.${encode({ exp: now / 1000 - 300 })}.c2ln`, 15 * 60_000],
  ] as const) {
    await t.test(secret.slice(0, 10), async (t) => {
      const begin = now
      const { asked } = install(t, print('user', secret))
      const source = createHelper('test', 'a', 'https://a', { ...limits, now: () => now })
      const first = await source.get()
      now = begin + life - 1
      await source.get()
      t.equal(asked().length, 1)
      now = begin + life
      await source.get()
      t.equal(asked().length, 2)
      await source.get(first)
      t.equal(asked().length, 3, 'refused')
      now = begin
    })
  }
})

t.test('what goes wrong is told without its output', async (t) => {
  const { replace } = install(t, 'echo secret; exit 1')
  for (const [script, message] of [
    ['echo secret; echo secret >&2; exit 1', 'docker-credential-test ended with exit code 1'],
    ['echo secret', /prints no JSON with Username and Secret$/],
    [print('user', ''), /prints no JSON/],
    ['yes secret', /prints too much$/],
    ['kill -9 $$', /ended with SIGKILL$/],
  ] as const) {
    replace(script)
    const source = createHelper('test', 'a', 'https://a', limits)
    await t.rejects(source.get(), { name: 'CredentialsUnavailable', message })
  }
  const missing = createHelper('nobody-has-this', 'a', 'https://a', limits)
  await t.rejects(missing.get(), { message: /is not installed in PATH$/ })
  t.throws(() => createHelper('../x', 'a', 'https://a', limits))
})

t.test('one that hangs is ended, with what it has started', async (t) => {
  const { folder } = install(t, `sleep 60 & echo $! > "$(dirname "$0")/child"; wait`)
  const source = createHelper('test', 'a', 'https://a', { ...limits, timeLimit: 1000 })
  await t.rejects(source.get(), CredentialsUnavailable)
  const child = Number(readFileSync(join(folder, 'child'), 'utf8'))
  for (let tries = 0; tries < 100 && isRunning(child); tries += 1) await wait(20)
  t.equal(isRunning(child), false)
  await t.rejects(
    source.get(),
    { message: /did not answer in 1 s/ },
    'it is left alone for a while',
  )
})

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

t.test('an upstream whose credentials come from a helper', async (t) => {
  const { asked, replace } = install(t, print('robot', 'first'))
  const wanted = { username: 'robot', password: 'first' }
  const tokens = tokenAuth({ credentials: wanted })
  const upstream = await startUpstream(t, {
    repositories: { app: image },
    faults: [tokens.fault],
  })
  const client = startUpstreams(t, { url: upstream.url, auth: { helper: 'test' } })
  t.equal((await ask(client.open, {})).response?.status, 200)
  wanted.password = 'second'
  replace(print('robot', 'second'))
  tokens.revoke()
  t.equal((await ask(client.open, {})).response?.status, 200, 'refused: it is asked for others')
  t.equal(asked().length, 2)
})

t.test('the same with Basic authentication', async (t) => {
  const { asked, replace } = install(t, print('robot', 'first'))
  let password = 'first'
  const upstream = await startUpstream(t, {
    repositories: { app: image },
    faults: [
      (req, res) => {
        const expected = `Basic ${Buffer.from(`robot:${password}`).toString('base64')}`
        const challenge = { 'www-authenticate': 'Basic realm="ecr"' }
        return req.headers.authorization !== expected && status(401, challenge)(req, res)
      },
    ],
  })
  const client = startUpstreams(t, { url: upstream.url, auth: { helper: 'test' } })
  t.equal((await ask(client.open, {})).response?.status, 200)
  password = 'second'
  replace(print('robot', password))
  t.equal((await ask(client.open, {})).response?.status, 200)
  t.equal(asked().length, 2)
})

t.test('a helper that fails is an outage with a hint', async (t) => {
  install(t, 'exit 1')
  const tokens = tokenAuth()
  const upstream = await startUpstream(t, { repositories: { app: image }, faults: [tokens.fault] })
  const client = startUpstreams(t, { url: upstream.url, auth: { helper: 'test' } })
  const { error } = await ask(client.open, {})
  t.match(error, { code: 'UPSTREAM_FAILED', reason: 'no_credentials' })
  t.match(error?.message, 'upstreams.up.auth.helper')
  t.match(client.lines, [{ reason: 'no_credentials', detail: /ended with exit code 1/ }])
})
