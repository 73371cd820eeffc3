// What an object store has to do, asked of a real one and of the one that tests use.
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { takeLease } from '../../../src/cache/shared/pruning/lease.ts'
import type { ObjectStore } from '../../../src/cache/shared/object-store.ts'
import { createMemoryStore } from '../../helpers/memory-store.ts'
import { startObjectStore, withObjectStore, type StoreKind } from '../../helpers/object-store.ts'

const signal = AbortSignal.timeout(300_000)
const bytes = (text: string) => Buffer.from(text)

const stores = {
  memory: { options: {}, open: async (): Promise<ObjectStore> => createMemoryStore() },
  'versity S3 gateway': {
    options: withObjectStore('versity'),
    open: async (t: Test) => openStore(t, 'versity'),
  },
  Ceph: { options: withObjectStore('ceph'), open: async (t: Test) => openStore(t, 'ceph') },
}

async function openStore(t: Test, kind: StoreKind): Promise<ObjectStore> {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const store = await (await startObjectStore(t, folder, kind)).open()
  t.teardown(store.close)
  return store
}

async function textOf(store: ObjectStore, key: string): Promise<string | undefined> {
  const object = await store.get(key, { signal })
  return object && (await buffer(object.body)).toString()
}

async function listed(store: ObjectStore, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const { key, size, modified } of store.list(prefix, signal)) {
    keys.push(`${key} ${size} ${Math.abs(Date.now() - modified) < 60_000}`)
  }
  return keys
}

t.setTimeout(300_000)
for (const [name, { options, open }] of Object.entries(stores)) {
  t.test(name, options, async (t) => {
    const store = await open(t)

    await t.test('one writes in the place of what it knows', async (t) => {
      const first = await store.swap('a', bytes('1'), undefined, signal)
      t.ok(first)
      t.equal(await store.swap('a', bytes('2'), undefined, signal), undefined, 'something is there')
      const second = await store.swap('a', bytes('2'), first, signal)
      t.equal(await store.swap('a', bytes('3'), first, signal), undefined, 'it is another one')
      t.equal((await store.get('a', { signal }))?.etag, second)
      await store.remove('a')
      t.equal(await store.swap('a', bytes('3'), second, signal), undefined, 'nothing is there')
      t.equal(await textOf(store, 'a'), undefined)
    })

    await t.test('a lease is kept, and given back', async (t) => {
      const take = async () =>
        takeLease(store, {
          holder: name,
          term: 3000,
          onWait: () => t.fail('somebody has it'),
          signal,
        })
      const lease = await take()
      await wait(3000)
      t.doesNotThrow(() => lease.assertHeld())
      await lease.release()
      await (await take()).release()
    })

    await t.test('lists what begins so, in order', async (t) => {
      for (const key of ['x/b', 'x/a/c', 'y/a']) {
        t.ok(await store.put(key, bytes(key), { ifAbsent: true }))
      }
      t.notOk(await store.put('y/a', bytes('other'), { ifAbsent: true }))
      t.equal(await textOf(store, 'y/a'), 'y/a')
      t.same(await listed(store, 'x/'), ['x/a/c 5 true', 'x/b 3 true'])
      t.ok(Math.abs(store.ahead()) < 5000)
    })

    await t.test('removes many at once, also what is not there', async (t) => {
      const file = join(t.testdir(), 'file')
      writeFileSync(file, 'from a file')
      const sha256 = createHash('sha256').update('from a file').digest('base64')
      for (let count = 0; count < 2; count += 1) {
        await store.putFile('v/file', { path: file, size: 11, sha256 }, signal)
      }
      await store.put('v/b', bytes('b'), { ifAbsent: false })
      await store.move('v/b', 'z/b')
      t.equal(await store.size('z/b', signal), 1)
      t.same(await store.removeAll(['v/file', 'v/none'], signal), [])
      t.same(await listed(store, 'v/'), [])
      t.equal(await textOf(store, 'z/b'), 'b')
    })
  })
}
