import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import { openStore } from '../../src/cache/store.ts'
import { UsageError } from '../../src/errors.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { asNobody } from '../helpers/nobody.ts'

const bytes = Buffer.from('a layer')
const digest = digestOf(bytes)

t.test('what is committed can be read, under its digest', async (t) => {
  const store = openStore(join(t.testdir(), 'not', 'there'))
  const sha512 = digestOf(bytes, 'sha512')
  for (const digest of [digestOf(bytes), sha512]) {
    const writer = await store.create(digest)
    await writer.append(bytes.subarray(0, 3))
    await writer.append(bytes.subarray(3))
    t.equal(await store.size(digest), undefined)
    t.match(await writer.commit(), { size: bytes.length, mtime: Number })
    await writer.abort()
    t.equal(await store.size(digest), bytes.length)
    const handle = await store.open(digest)
    t.ok(bytes.equals((await handle?.readFile()) ?? Buffer.alloc(0)))
    await handle?.close()
  }
  const hex = sha512.slice('sha512:'.length)
  t.ok(existsSync(join(store.folder.blobs, 'sha512', hex.slice(0, 2), hex)))
  const all: string[] = []
  for await (const found of store.digests()) all.push(found)
  t.same(all.sort(), [digest, sha512])
  t.same(readdirSync(store.folder.tmp), [])
})

t.test('wrong or abandoned content leaves nothing', async (t) => {
  const store = openStore(t.testdir())
  const wrong = await store.create(digest)
  await wrong.append(Buffer.from('another layer'))
  await t.rejects(wrong.commit(), { code: 'DIGEST_INVALID' })
  const abandoned = await store.create(digest)
  await abandoned.append(bytes)
  await abandoned.abort()
  t.equal(await store.size(digest), undefined)
  t.equal(await store.open(digest), undefined)
  t.same(readdirSync(store.folder.tmp), [])
})

t.test('quarantine and removal', async (t) => {
  const store = openStore(t.testdir())
  const put = async () => {
    const writer = await store.create(digest)
    await writer.append(bytes)
    await writer.commit()
  }
  await put()
  await store.quarantine(digest)
  t.equal(await store.size(digest), undefined)
  const [name = ''] = readdirSync(store.folder.quarantine)
  t.ok(bytes.equals(readFileSync(join(store.folder.quarantine, name))))
  await store.quarantine(digest)
  await put()
  await store.remove(digest)
  await store.remove(digest)
  t.equal(await store.size(digest), undefined)
})

t.test('what a dead process left is removed, a living one keeps its files', async (t) => {
  const other = spawn('sleep', ['60'])
  t.teardown(() => other.kill('SIGKILL'))
  const gone = spawn('true')
  await once(gone, 'exit')
  const dir = t.testdir({
    format: '1\n',
    tmp: { [`${gone.pid}-a-1`]: '', [`${other.pid}-a-1`]: '', [`${process.pid}-a-1`]: '', odd: '' },
  })
  const first = openStore(dir)
  t.same(readdirSync(first.folder.tmp), [`${other.pid}-a-1`])
  const writer = await first.create(digest)
  openStore(dir)
  await writer.append(bytes)
  await writer.commit()
  t.equal(await first.size(digest), bytes.length)
})

t.test('folders that cannot be used', async (t) => {
  const dir = t.testdir({
    file: '',
    newer: { format: '2\n' },
    foreign: { format: 'elf' },
    closed: {},
    held: { format: '1\n', blobs: {}, tmp: {}, quarantine: {} },
  })
  const open = (name: string) => () => openStore(join(dir, name))
  t.throws(
    open('file'),
    new UsageError([{ path: 'cache.dir', message: `${dir}/file is not a folder` }]),
  )
  t.throws(open('newer'), /cache\.dir: .*newer version/)
  t.throws(open('foreign'), /cache\.dir: .*another program/)
  await asNobody([join(dir, 'closed'), join(dir, 'held')], async () => {
    t.throws(open('closed'), /cache\.dir: .*cannot be written \(EACCES\)/)
    const store = openStore(join(dir, 'held'))
    t.equal(await store.problem(), 'EACCES')
    await t.rejects(store.create(digest), { code: 'EACCES' })
  })
  writeFileSync(join(dir, 'held', 'tmp', 'x'), '')
  t.equal(await openStore(join(dir, 'held')).problem(), undefined)
})
