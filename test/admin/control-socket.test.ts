// The socket in the cache folder, by which commands ask the gateway that uses it.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { join } from 'node:path'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { askInFolder, isLocal, listenInFolder } from '../../src/admin/control-socket.ts'
import { openStore } from '../../src/cache/store.ts'
import { asNobody } from '../helpers/nobody.ts'

function folder(t: Test, ...below: string[]): string {
  const dir = join(t.testdir(), ...below)
  openStore(dir).close()
  return dir
}

const says =
  (text: string): RequestListener =>
  (req, res) =>
    res.writeHead(201).end(`${text} ${req.method} ${req.url} ${isLocal(req)}`)

const health = { method: 'GET', path: '/healthz' }

t.test('asked and answered, and gone with the gateway', async (t) => {
  const dir = folder(t)
  t.equal(await askInFolder(dir, health), undefined, 'nobody was ever there')
  const control = await listenInFolder(dir, says('one'))
  t.same(await askInFolder(dir, health), { status: 201, body: 'one GET /healthz true' })
  t.equal(statSync(join(dir, 'control.sock')).mode & 0o777, 0o600)
  await control.close()
  await control.close()
  t.notOk(existsSync(join(dir, 'control.sock')))
  t.equal(await askInFolder(dir, health), undefined)
  t.doesNotThrow(() => openStore(dir).close())
})

t.test('a folder whose path is longer than that of a socket may be', async (t) => {
  const dir = folder(t, 'a'.repeat(100), 'b'.repeat(100))
  const control = await listenInFolder(dir, says('far'))
  t.match(await askInFolder(dir, health), { status: 201 })
  await control.close()
  t.notOk(existsSync(join(dir, 'control.sock')))
})

t.test('the last of two gateways answers, also after the first has ended', async (t) => {
  const dir = folder(t)
  const first = await listenInFolder(dir, says('first'))
  const second = await listenInFolder(dir, says('second'))
  t.match(await askInFolder(dir, health), { body: 'second GET /healthz true' })
  await first.close()
  t.match(await askInFolder(dir, health), { body: 'second GET /healthz true' })
  await second.close()
})

t.test('what a killed gateway has left is nobody, and in nobody’s way', async (t) => {
  const dir = folder(t)
  const path = join(dir, 'control.sock')
  const code = `require('net').createServer().listen('control.sock', () => process.kill(process.pid, 'SIGKILL'))`
  await once(spawn(process.execPath, ['-e', code], { cwd: dir }), 'exit')
  t.ok(existsSync(path))
  t.equal(await askInFolder(dir, health), undefined)
  rmSync(path)
  mkdirSync(path)
  t.equal(await askInFolder(dir, health), undefined, 'nor is a folder')
  await t.rejects(listenInFolder(dir, says('x')))
  rmSync(path, { recursive: true })
  const control = await listenInFolder(dir, says('next'))
  t.match(await askInFolder(dir, health), { status: 201 })
  await control.close()
})

t.test('a gateway that does not answer', async (t) => {
  const dir = folder(t)
  const control = await listenInFolder(dir, () => undefined)
  await t.rejects(askInFolder(dir, { ...health, patience: 50 }), /does not answer/)
  await control.close()
})

t.test('only its owner may ask', async (t) => {
  const dir = folder(t)
  const control = await listenInFolder(dir, says('x'))
  await asNobody([], async () => {
    await t.rejects(askInFolder(dir, health), { code: 'EACCES' })
  })
  await control.close()
})
