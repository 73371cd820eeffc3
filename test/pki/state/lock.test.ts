// Many processes at once on one state folder: no line of the ledger is lost, no serial comes twice.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readLedger } from '../../../src/pki/state/ledger.ts'
import { withLock } from '../../../src/pki/state/lock.ts'
import { issueClient, makeFolder, verify } from '../../helpers/pki.ts'
import { optionsFor } from '../../requirements.ts'

const main = join(import.meta.dirname, '../../../src/main.ts')

function start(args: string[]) {
  return spawn(process.execPath, [main, 'pki', ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
}

async function exitOf(child: ReturnType<typeof start>): Promise<number> {
  const [code] = (await once(child, 'exit')) as [number]
  return code
}

t.test('twenty processes issue, revoke and renew at once', optionsFor('pki'), async (t) => {
  const dir = await makeFolder(t, true)
  await issueClient(dir, 'gone')
  const names = Array.from({ length: 18 }, (_, index) => `edge-${index}`)
  const codes = await Promise.all([
    ...names.map((name) => exitOf(start(['client', name, '--dir', dir]))),
    exitOf(start(['revoke', 'gone', '--dir', dir])),
    exitOf(start(['renew', 'issuing', '--dir', dir])),
  ])
  t.ok(
    codes.every((code) => code === 0),
    codes.join(),
  )
  const records = readLedger(dir)
  t.equal(records.length, 2 + 1 + 18 + 1)
  t.equal(new Set(records.map(({ serial }) => serial)).size, records.length)
  t.same(new Set(records.map(({ name }) => name)), new Set(['ca', 'issuing', 'gone', ...names]))
  for (const name of names.slice(0, 3)) t.equal(verify(dir, name), 'OK')
  t.equal(verify(dir, 'gone'), 'certificate revoked')
  t.notOk(readdirSync(dir).some((file) => file.endsWith('.tmp')))
})

t.test('one name for many processes: one gets it, the others are told', async (t) => {
  const dir = await makeFolder(t)
  const codes = await Promise.all(
    Array.from({ length: 6 }, () => exitOf(start(['client', 'edge-1', '--dir', dir]))),
  )
  t.same(
    codes.sort((a, b) => a - b),
    [0, 2, 2, 2, 2, 2],
  )
  const issued = readLedger(dir).filter(({ name }) => name === 'edge-1')
  t.equal(issued.length, 1, 'and the ledger knows of one')
})

t.test(
  'a killed process leaves the folder free, and what it had not finished undone',
  async (t) => {
    const dir = await makeFolder(t)
    const lock = JSON.stringify(join(import.meta.dirname, '../../../src/pki/state/lock.ts'))
    const program = `
    import { withLock } from ${lock}
    await withLock(process.argv[1], () => {
      console.log('locked')
      return new Promise(() => setInterval(() => {}, 1000))
    })`
    const args = ['--input-type=module', '--eval', program, dir]
    const holder = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(holder.stdout, 'data')
    const waiting = issueClient(dir, 'edge-1')
    const first = await Promise.race([
      waiting.then(() => 'issued'),
      new Promise((resolve) => setTimeout(resolve, 150, 'waited')),
    ])
    t.equal(first, 'waited')
    holder.kill('SIGKILL')
    await once(holder, 'exit')
    t.match((await waiting).entry, { name: 'edge-1' })
  },
)

t.test('work in one process takes turns too', async (t) => {
  const dir = await makeFolder(t)
  const order: string[] = []
  const work = (name: string) =>
    withLock(dir, async () => {
      order.push(`${name} in`)
      await new Promise((resolve) => setTimeout(resolve, 10))
      order.push(`${name} out`)
    })
  await Promise.all([work('a'), work('b'), work('c')])
  t.equal(order.length, 6)
  for (const [index, entry] of order.entries()) {
    if (index % 2 === 0) t.equal(order[index + 1], entry.replace('in', 'out'))
  }
  await t.rejects(
    withLock(dir, () => Promise.reject(new Error('failed'))),
    /failed/,
  )
  await work('d')
  t.ok(readFileSync(join(dir, '.lock')).length === 0)
})
