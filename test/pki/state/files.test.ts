// All of a set of files or none, durably; the ledger and the files of a certificate together.
import * as fs from 'node:fs'
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { issue } from '../../../src/pki/issue.ts'
import { renew } from '../../../src/pki/renew.ts'
import { stageFiles, writeFiles } from '../../../src/pki/state/files.ts'
import { readLedger, type appendToLedger } from '../../../src/pki/state/ledger.ts'
import { issueClient, makeFolder } from '../../helpers/pki.ts'

/** Every file below `dir` with its content and mode. */
function snapshot(dir: string): Record<string, string> {
  const files = readdirSync(dir, { recursive: true, withFileTypes: true })
  return Object.fromEntries(
    files
      .filter((entry) => entry.isFile() && entry.name !== '.lock')
      .map((entry) => join(entry.parentPath, entry.name))
      .map((path) => [path, `${statSync(path).mode} ${readFileSync(path, 'latin1')}`]),
  )
}

t.test('files are replaced as a whole set', async (t) => {
  const dir = t.testdir({ a: 'old' })
  chmodSync(join(dir, 'a'), 0o600)
  const at = (name: string) => join(dir, name)
  writeFiles([
    { path: at('a'), content: 'new' },
    { path: at('below/b'), content: Buffer.from([0, 255]), mode: 0o600 },
  ])
  t.same(readdirSync(dir).sort(), ['a', 'below'])
  t.equal(readFileSync(at('a'), 'utf8'), 'new')
  t.equal(statSync(at('a')).mode & 0o777, 0o644)
  t.equal(statSync(at('below/b')).mode & 0o777, 0o600)
})

t.test('what cannot be written leaves the folder as it was', async (t) => {
  const dir = t.testdir({ a: 'old', taken: { x: '' }, file: '' })
  const at = (name: string) => join(dir, name)
  const before = snapshot(dir)
  const a = { path: at('a'), content: 'new' }
  const fresh = { path: at('c'), content: 'new' }
  t.throws(
    () => writeFiles([a, fresh, { path: at('taken'), content: '' }]),
    'a folder in its place',
  )
  t.throws(() => writeFiles([a, { path: at('file/b'), content: '' }]), 'a file for a folder')
  t.same(snapshot(dir), before)
  const staged = stageFiles([a])
  staged.discard()
  t.same(snapshot(dir), before)
})

t.test('a certificate is issued with all of its files, or it is not', async (t) => {
  const dir = await makeFolder(t)
  await issueClient(dir, 'edge-1')
  const before = snapshot(dir)
  const force = { force: true }
  const failing = async () => Promise.reject(new Error('no hand-over'))
  await t.rejects(issueClient(dir, 'edge-1', { ...force, companions: failing }), /no hand-over/)
  await t.rejects(issueClient(dir, 'edge-2', { companions: failing }), /no hand-over/)
  mkdirSync(join(dir, 'in the way/x'), { recursive: true })
  const blocked = async () => [{ path: join(dir, 'in the way'), content: '' }]
  await t.rejects(issueClient(dir, 'edge-1', { ...force, companions: blocked }))
  await t.rejects(renew({ dir }, 'edge-1', { newKey: true, companions: blocked }))
  t.same(snapshot(dir), before, 'key, certificate and ledger are those of before')
  t.equal(readLedger(dir).length, 2)
  await issue(
    { dir },
    {
      name: 'edge-1',
      profile: 'client',
      algorithm: 'P-256',
      force: true,
      companions: async ({ chainPem }) => [{ path: join(dir, 'more'), content: chainPem }],
    },
  )
  t.equal(readFileSync(join(dir, 'more'), 'utf8'), readFileSync(join(dir, 'edge-1.crt'), 'utf8'))
})

t.test('a renewal takes names that are none for none', async (t) => {
  const dir = await makeFolder(t)
  await issueClient(dir, 'edge-1')
  const before = snapshot(dir)
  for (const name of ['../certs/edge-1', './edge-1', 'a"b', '$(id)']) {
    const problem = { name: 'UsageError', message: /^NAME: .* cannot name files/ }
    await t.rejects(renew({ dir }, name, { newKey: false }), problem, name)
  }
  const companions = async () => []
  await t.rejects(renew({ dir }, 'ca', { newKey: false, companions }), /leave out --for/)
  t.same(snapshot(dir), before)
})

t.test('a line of another kind is damage: revocation lists are made from the ledger', async (t) => {
  const dir = await makeFolder(t)
  const ledger = join(dir, 'issued.jsonl')
  const whole = readFileSync(ledger, 'utf8')
  for (const line of ['{"event":"Revoked","serial":"01"}', '{}', 'null', '[]', '7', 'no JSON']) {
    writeFileSync(ledger, `${whole}${line}\n`)
    t.throws(() => readLedger(dir), /line 2 of .*issued\.jsonl is damaged/, line)
  }
  writeFileSync(ledger, `${whole}{"event":"rev`)
  t.equal(readLedger(dir).length, 1, 'a line that a crash cut off was never handed out')
})

t.test(
  'writes that are cut short go on, and nothing counts before it is on the disk',
  async (t) => {
    const dir = await makeFolder(t)
    const done: string[] = []
    const named = new Map<number, string>()
    const slow = {
      ...fs,
      openSync: (path: string, ...rest: [string, number?]) => {
        const descriptor = fs.openSync(path, ...rest)
        named.set(descriptor, path)
        return descriptor
      },
      writeSync: (descriptor: number, bytes: Buffer, offset: number) =>
        fs.writeSync(descriptor, bytes, offset, Math.min(3, bytes.length - offset)),
      fsyncSync: (descriptor: number) => {
        fs.fsyncSync(descriptor)
        done.push(`sync ${named.get(descriptor)?.replace(/\.[0-9a-f]{12}\.tmp$/, '.tmp')}`)
      },
      renameSync: (from: string, to: string) => {
        fs.renameSync(from, to)
        done.push(`move ${to}`)
      },
    }
    const files = await t.mockImport<{ writeFiles: typeof writeFiles }>(
      '../../../src/pki/state/files.ts',
      {
        'node:fs': slow,
      },
    )
    const path = join(dir, 'x.key')
    files.writeFiles([{ path, content: 'more than three bytes' }])
    t.equal(readFileSync(path, 'utf8'), 'more than three bytes')
    t.same(done, [`sync ${path}.tmp`, `move ${path}`, `sync ${dir}`])

    done.length = 0
    const ledger = await t.mockImport<{ appendToLedger: typeof appendToLedger }>(
      '../../../src/pki/state/ledger.ts',
      {
        'node:fs': slow,
      },
    )
    const takeBack = ledger.appendToLedger(dir, [
      { event: 'revoked', serial: '01', at: '2026-01-01T00:00:00Z', reason: 'unspecified' },
    ])
    t.same(done, [`sync ${join(dir, 'issued.jsonl')}`])
    takeBack()
    t.equal(readFileSync(join(dir, 'issued.jsonl'), 'utf8').split('\n').length, 2)
  },
)
