import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t, { type Test } from 'tap'
import { openStore } from '../../src/cache/store.ts'
import { UsageError } from '../../src/errors.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { until } from '../helpers/cache.ts'
import { asNobody } from '../helpers/nobody.ts'
import { optionsFor } from '../requirements.ts'

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

const leftover = `${process.pid}-0123abcd-0123456789ab`

/** Another process that uses the folder, until it is killed: in a namespace where it has another id. */
async function startOther(t: Test, dir: string, isolated: string[]): Promise<() => Promise<void>> {
  const store = join(import.meta.dirname, '../../src/cache/store.ts')
  const script = `
    const { openStore } = await import(${JSON.stringify(store)})
    const store = openStore(${JSON.stringify(dir)})
    store.draft(${JSON.stringify(digest)})
    console.log('ready')
    setInterval(() => store, 1000)`
  const call = [...isolated, process.execPath, '--input-type=module', '-e', script]
  const other = spawn('env', call, { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(other, 'exit')
  const kill = async () => {
    other.kill('SIGKILL')
    await exited
  }
  t.teardown(kill)
  await once(other.stdout, 'data', { signal: AbortSignal.timeout(20_000) })
  return kill
}

const pidNamespace = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc']
for (const [where, isolated] of Object.entries({
  'beside it': [],
  'in another container': pidNamespace,
})) {
  const options = isolated.length === 0 ? {} : optionsFor('disk')
  t.test(
    `a start spares the files of a process ${where}, and cleans up after it`,
    options,
    async (t) => {
      const dir = t.testdir({ format: '1\n', tmp: { [leftover]: '' } })
      const kill = await startOther(t, dir, isolated)
      const [held = '', ...none] = readdirSync(join(dir, 'tmp'))
      t.same(none, [], 'it was alone, and removed what was there')
      const store = openStore(dir)
      openStore(dir).close()
      t.same(readdirSync(store.folder.tmp), [held], 'it is alive')
      const writer = await store.create(digest)
      await writer.append(bytes)
      await kill()
      openStore(dir).close()
      t.equal(
        readdirSync(store.folder.tmp).length,
        2,
        'nobody is alone in it: this process is there',
      )
      await writer.commit()
      store.close()
      // What was started in a namespace dies a moment after the one that started it.
      await until(() => {
        openStore(dir).close()
        return readdirSync(store.folder.tmp).length === 0
      }, 'the one that is alone cleans up')
      t.equal(await store.size(digest), bytes.length)
    },
  )
}

t.test('only what has a name of ours is removed', async (t) => {
  const tmp = { [leftover]: '', odd: '', '1-a-1': '', project: { thesis: 'years' } }
  const dir = t.testdir({ format: '1\n', tmp })
  openStore(dir).close()
  t.same(readdirSync(join(dir, 'tmp')).sort(), ['1-a-1', 'odd', 'project'])
})

t.test('looking whether it can be written leaves nothing', async (t) => {
  const store = openStore(t.testdir())
  for (let round = 0; round < 3; round += 1) t.equal(await store.problem(), undefined)
  t.same(readdirSync(store.folder.tmp), [])
  for await (const found of store.digests()) t.fail(`${found} is there`)
})

t.test('files beside blobs are no content', async (t) => {
  const store = openStore(t.testdir())
  const writer = await store.create(digest)
  await writer.append(bytes)
  await writer.commit()
  writeFileSync(join(dirname(store.pathOf(digest)), 'README'), '')
  const all: string[] = []
  for await (const found of store.digests()) all.push(found)
  t.same(all, [digest])
})

t.test('a folder that is no cache is left as it is', async (t) => {
  const dir = t.testdir({
    home: { tmp: { project: { thesis: 'years' } } },
    notes: { 'notes.txt': '' },
    temporaries: { blobs: {}, tmp: { odd: '' } },
    victim: { precious: '', [leftover]: '' },
    linked: { format: '1\n', blobs: {} },
    begun: { blobs: { sha256: {} }, tmp: { [leftover]: '' }, quarantine: {} },
    volume: { 'lost+found': {} },
  })
  symlinkSync(join(dir, 'victim'), join(dir, 'linked', 'tmp'))
  for (const name of ['home', 'notes', 'temporaries', 'linked']) {
    const before = readdirSync(join(dir, name), { recursive: true })
    t.throws(() => openStore(join(dir, name)), UsageError, name)
    t.same(readdirSync(join(dir, name), { recursive: true }), before)
  }
  t.throws(() => openStore(join(dir, 'home')), /cache\.dir: .* not empty \(project\)/)
  t.throws(() => openStore(join(dir, 'linked')), /cache\.dir: .*tmp is a link/)
  t.same(readdirSync(join(dir, 'victim')), [leftover, 'precious'])
  for (const name of ['begun', 'volume']) {
    openStore(join(dir, name)).close()
    t.same(readdirSync(join(dir, name, 'tmp')), [])
    t.equal(readFileSync(join(dir, name, 'format'), 'utf8'), '1\n')
  }
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

t.test('a folder of content that cannot be read hides no other', async (t) => {
  const store = openStore(t.testdir())
  const writer = await store.create(digest)
  await writer.append(bytes)
  await writer.commit()
  const sha256 = join(store.folder.blobs, 'sha256')
  writeFileSync(join(sha256, '00'), 'no folder')
  symlinkSync('ff', join(sha256, 'ff'))
  const all: string[] = []
  const unreadable: string[] = []
  for await (const found of store.digests((prefix) => unreadable.push(prefix))) all.push(found)
  t.same(all, [digest])
  t.same(unreadable, ['sha256:00', 'sha256:ff'])
})

t.test('what another process has stored meanwhile is as right', async (t) => {
  const dir = t.testdir()
  const [one, other] = [openStore(dir), openStore(dir)]
  const writers = [await one.create(digest), await other.create(digest)]
  for (const writer of writers) await writer.append(bytes)
  const stored: unknown[] = []
  for (const writer of writers) {
    stored.push(await writer.commit())
    await writer.abort()
  }
  t.same(stored[1], stored[0])
  t.same(readdirSync(one.folder.tmp), [])
  t.same(readFileSync(one.pathOf(digest)), bytes)

  const again = await other.create(digest)
  await again.append(bytes)
  const replaced = await again.commit()
  t.notSame(replaced, stored[0], 'what was there before is replaced: it may be damaged')
})
