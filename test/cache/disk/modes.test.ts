// What a cache writes is for its own user, whatever the umask.
import { chmodSync, existsSync, globSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { openStore } from '../../../src/cache/store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { openTokenKeys } from '../../../src/registry/token/keys.ts'
import { openSpool } from '../../../src/transfer/archive/spool.ts'
import { recordingLog } from '../../helpers/listener.ts'

const before = process.umask(0)
t.teardown(() => process.umask(before))

const content = Buffer.from('a layer of somebody')
const place = { upstream: 'docker.io', repository: 'library/alpine' }
const digest = digestOf(content)

/** Stores, quarantines and notes something, and leaves a download under way. */
async function use(dir: string) {
  const store = openStore(dir)
  const index = openIndex(dir)
  for (const bytes of [content, Buffer.from('wrong')]) {
    const writer = await store.create(digestOf(bytes))
    await writer.append(bytes)
    await writer.commit()
  }
  await store.quarantine(digestOf(Buffer.from('wrong')))
  index.addLink(place, digest, 'blob')
  await index.sync()
  const underWay = await store.create(digest)
  await underWay.append(content)
  return { index, underWay, store }
}

function modesIn(dir: string): Record<string, string> {
  const names = ['.', ...globSync('**', { cwd: dir }).filter((name) => name !== '.')]
  return Object.fromEntries(
    names.map((name) => [name, (statSync(join(dir, name)).mode & 0o777).toString(8)]),
  )
}

function openToOthers(dir: string): string[] {
  return Object.entries(modesIn(dir)).flatMap(([name, mode]) => {
    const wanted = statSync(join(dir, name)).isDirectory() ? '700' : '600'
    return mode === wanted ? [] : [`${name} ${mode}`]
  })
}

t.test('a new cache is 0700, and each file in it 0600', async (t) => {
  const dir = join(t.testdir(), 'var', 'cache')
  const { index, underWay, store } = await use(dir)
  t.teardown(() => index.close())
  t.same(openToOthers(dir), [])
  for (const pattern of ['format', 'index.db', 'index.db-wal', 'index.db-shm']) {
    t.ok(existsSync(join(dir, pattern)), pattern)
  }
  for (const pattern of ['blobs/*/*/*', 'tmp/*', 'quarantine/*']) {
    t.equal(globSync(pattern, { cwd: dir }).length, 1, pattern)
  }
  const spool = await openSpool(store.folder)
  t.equal((await spool.stat()).mode & 0o777, 0o600)
  await spool.close()
  await underWay.abort()
})

t.test('in a folder that others could read, what is written anew is not for them', async (t) => {
  const dir = t.testdir({ blobs: {}, tmp: {}, quarantine: {} })
  chmodSync(dir, 0o755)
  mkdirSync(join(dir, 'blobs', 'sha256'), { mode: 0o755 })
  writeFileSync(join(dir, 'index.db'), '', { mode: 0o644 })
  const { index, underWay } = await use(dir)
  t.teardown(() => index.close())
  const kept = new Set(['. 755', 'blobs 777', 'blobs/sha256 755', 'quarantine 777', 'tmp 777'])
  t.same(
    openToOthers(dir).filter((one) => !kept.has(one)),
    [],
  )
  await underWay.abort()
})

t.test('the index that takes the place of a damaged one', async (t) => {
  const dir = t.testdir({ 'index.db': 'no database, and of some length'.repeat(100) })
  openStore(dir)
  const index = openIndex(dir)
  t.teardown(() => index.close())
  t.equal(globSync('quarantine/index-*', { cwd: dir }).length, 1)
  t.equal(modesIn(dir)['index.db'], '600')
})

t.test('the keys that sign tokens, made and replaced', async (t) => {
  const dir = t.testdir({})
  const file = join(dir, 'token.key')
  const options = { file, rotateEvery: 1000, log: recordingLog().log }
  let now = 0
  const keys = openTokenKeys({ ...options, now: () => now })
  t.teardown(async () => keys.source.close())
  t.equal(modesIn(dir)['token.key'], '600')
  now = 5000
  await keys.sign({}, 'JWT')
  t.equal(keys.jwks().keys.length, 2)
  t.equal(modesIn(dir)['token.key'], '600')
})
