import {
  chmodSync,
  existsSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { generateKeyPairSync } from 'node:crypto'
import { calculateJwkThumbprint, decodeProtectedHeader, jwtVerify } from 'jose'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { UsageError } from '../../../src/errors.ts'
import { openTokenKeys } from '../../../src/registry/token/keys.ts'

const log = pino({ level: 'silent' })
const day = 86_400_000

function open(t: Test, file: string, now: () => number = Date.now) {
  const keys = openTokenKeys({ file, rotateEvery: 90 * day, log, now })
  t.teardown(async () => keys.source.close())
  return keys
}

t.test('a missing file is made, for its owner only, and read again', async (t) => {
  const folder = t.testdir()
  const file = join(folder, 'token.key')
  const keys = open(t, file)
  t.equal(statSync(file).mode & 0o777, 0o600)
  t.same(readdirSync(folder), ['token.key'], 'nothing else is left behind')
  const token = await keys.sign({ sub: 'x' }, 'JWT')
  const again = open(t, file)
  t.same(again.jwks(), keys.jwks())
  await jwtVerify(token, again.source.key, { algorithms: ['ES256'] })
})

t.test('what is published is the public half, by its thumbprint', async (t) => {
  const keys = open(t, join(t.testdir(), 'token.key'))
  const [jwk] = keys.jwks().keys
  if (jwk === undefined) throw new Error('no key')
  t.match(jwk, { kty: 'EC', crv: 'P-256', alg: 'ES256', use: 'sig' })
  t.notOk('d' in jwk)
  t.equal(jwk.kid, await calculateJwkThumbprint(jwk))
  t.equal(decodeProtectedHeader(await keys.sign({}, 'JWT')).kid, jwk.kid)
})

t.test('an old key is replaced, and its tokens stay good', async (t) => {
  let time = Date.now()
  const file = join(t.testdir(), 'token.key')
  const keys = open(t, file, () => time)
  const old = await keys.sign({ sub: 'x' }, 'JWT')
  const [first] = keys.jwks().keys
  time += 91 * day
  const fresh = await keys.sign({ sub: 'y' }, 'JWT')
  t.equal(keys.jwks().keys.length, 2)
  t.not(decodeProtectedHeader(fresh).kid, first?.kid)
  await jwtVerify(old, keys.source.key)
  await jwtVerify(fresh, keys.source.key)
  t.equal(statSync(file).mode & 0o777, 0o600)
  const again = open(t, file, () => time)
  t.same(again.jwks(), keys.jwks(), 'the file has both')
  time += 91 * day
  await keys.sign({}, 'JWT')
  t.equal(keys.jwks().keys.length, 2)
  await t.rejects(jwtVerify(old, keys.source.key), 'the one before the last is gone')
})

t.test('a file that cannot be written keeps the key in use', async (t) => {
  let time = Date.now()
  const folder = t.testdir({ keys: {} })
  const file = join(folder, 'keys', 'token.key')
  const keys = open(t, file, () => time)
  rmSync(join(folder, 'keys'), { recursive: true })
  time += 91 * day
  await keys.sign({}, 'JWT')
  t.equal(keys.jwks().keys.length, 1)
})

t.test('a file that is no key is told', async (t) => {
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
  const wrong: Record<string, [content: string, message: RegExp]> = {
    empty: ['', /no PEM private key/],
    damaged: ['-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', /damaged/],
    curve: [String(p384.export({ type: 'pkcs8', format: 'pem' })), /P-256/],
  }
  const folder = t.testdir()
  for (const [name, [content, message]] of Object.entries(wrong)) {
    const file = join(folder, name)
    writeFileSync(file, content)
    t.throws(() => open(t, file), UsageError)
    t.throws(() => open(t, file), message)
    t.equal(readFileSync(file, 'utf8'), content, 'and left as it is')
  }
  t.throws(() => open(t, join(folder, 'no', 'folder')), /cannot be made/)
  t.notOk(existsSync(join(folder, 'no')))
})

t.test('a key that others can read is warned about', async (t) => {
  for (const [mode, isWarned] of Object.entries({ 600: false, 640: true, 604: true })) {
    const file = join(t.testdir(), 'token.key')
    open(t, file)
    chmodSync(file, Number.parseInt(mode, 8))
    const lines: string[] = []
    const loud = pino({}, { write: (line: string) => void lines.push(line) })
    const keys = openTokenKeys({ file, rotateEvery: day, log: loud })
    t.teardown(async () => keys.source.close())
    t.equal(/others can read/.test(lines.join('')), isWarned, mode)
  }
})

t.test('gateways that start at once on one file have one key', async (t) => {
  const folder = t.testdir()
  const rounds = 20
  const gates = new Int32Array(new SharedArrayBuffer(4 * rounds))
  const workers = Array.from({ length: 4 }, () => {
    const workerData = { folder, gates, rounds, count: 4 }
    return new Worker(new URL('../../helpers/key-race.ts', import.meta.url), { workerData })
  })
  const found = await Promise.all(
    workers.map(async (worker) => (await once(worker, 'message'))[0] as string[]),
  )
  t.same(found, Array(4).fill(found[0]))
  t.equal(new Set(found[0]).size, rounds)
})

t.test('keys that another process has replaced are followed', async (t) => {
  let time = Date.now()
  const file = join(t.testdir(), 'token.key')
  const [one, other] = [open(t, file, () => time), open(t, file, () => time)]
  time += 91 * day
  const first = await one.sign({ sub: 'x' }, 'JWT')
  await jwtVerify(first, other.source.key, { algorithms: ['ES256'] })
  const second = await other.sign({ sub: 'y' }, 'JWT')
  await jwtVerify(second, one.source.key, { algorithms: ['ES256'] })
  t.same(other.jwks(), one.jwks(), 'they were replaced once')
})
