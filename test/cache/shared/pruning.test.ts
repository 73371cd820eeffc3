// Pruning a bucket that replicas share: what goes, what stays, and that nothing that has a name lacks
// its content.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { contentKey, sharedLinkKey, tagKey } from '../../../src/cache/shared/layout.ts'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { createRemover } from '../../../src/cache/shared/pruning/remover.ts'
import { readPruned } from '../../../src/cache/shared/pruning/records.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import { compileImageGlob } from '../../../src/rules/glob.ts'
import { day, holding, lacking, prune } from '../../helpers/bucket.ts'
import { app, minute, other, startSite, until } from '../../helpers/cache.ts'
import { addImage, addIndex, emptyContent, layerOf, partsIn, pull } from '../../helpers/images.ts'
import { createMemoryStore } from '../../helpers/memory-store.ts'

const MiB = 2 ** 20

function mkdtempFor(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Images `0`, `1` and `2` of one base, `list` of 1 and one without a tag, and `0` and `other` of another repository. */
async function startBucket(t: Test) {
  const folder = mkdtempFor(t)
  const [content, second] = [emptyContent(), emptyContent()]
  const base = layerOf('base', 2 * MiB + 5)
  for (const name of ['0', '1', '2']) addImage(content, name, [base, layerOf(name, 300_000)])
  const arm = addImage(content, 'arm', [base, layerOf('arm', 200_000)], { tags: [] })
  addIndex(content, 'list', [content.tags.get('1') as Digest, arm])
  addImage(second, '0', [base, layerOf('0', 300_000)])
  addImage(second, 'other', [layerOf('0', 300_000), layerOf('other', 100_000)])
  const store = createMemoryStore()
  const site = await startSite(t, { repositories: { app: content, other: second } })
  let replicas = 0
  const open = (dir = join(folder, `replica-${(replicas += 1)}`)) =>
    site.open({ dir, remote: store })
  const first = open(join(folder, 'first'))
  for (const tag of ['0', '1', '2', 'list']) await pull(first, app, tag)
  for (const tag of ['0', 'other']) await pull(first, other, tag)
  const written = async (cache: typeof first) =>
    until(() => cache.sharedWaiting?.() === 0, 'all is written')
  await written(first)
  t.same(lacking(store), [])
  const dir = () => {
    const path = join(folder, `bucket-${(replicas += 1)}`)
    mkdirSync(path)
    return path
  }
  /** A replica without a disk and without an upstream gets it. */
  const serves = async (place: typeof app, tag: string) => {
    site.site.offline = true
    const replica = open()
    try {
      await pull(replica, place, tag)
      return true
    } catch {
      return false
    } finally {
      await replica.close()
      site.site.offline = false
    }
  }
  return { store, site, folder, content, second, first, open, written, dir, serves }
}

const named = (pattern: string) => ({ match: compileImageGlob(pattern) })

t.test('an image goes, and what others need stays', async (t) => {
  const { store, second, dir, serves } = await startBucket(t)
  store.age(2 * day)
  const { gone } = await prune(store, dir(), named('registry.test/app:*'))
  t.same(gone.sort(), ['0', '1', '2', 'list'])
  t.same(lacking(store), [])
  t.same(holding(store).tags, ['0', 'other'])
  const needed = [...second.tags.values()].flatMap((digest) => partsIn(second, digest))
  t.same(holding(store).contents, new Set(needed))
  for (const tag of ['0', 'other']) t.ok(await serves(other, tag))
  t.notOk(await serves(app, '0'))
})

t.test('what a list needs stays although its own tag goes', async (t) => {
  const { store, content, dir, serves } = await startBucket(t)
  store.age(2 * day)
  t.same((await prune(store, dir(), named('registry.test/app:1'))).gone, ['1'])
  t.ok(holding(store).contents.has(content.tags.get('1') ?? ''))
  t.same(lacking(store), [])
  t.ok(await serves(app, 'list'))
})

t.test('all that is old goes, with the hashes of its pieces', async (t) => {
  const { store, dir } = await startBucket(t)
  store.age(2 * day)
  const { left } = await prune(store, dir(), { olderThan: day })
  t.same(left, { bytes: 0, entries: 0 })
  const keys = [...store.objects.keys()].filter((key) => !/^repositories\/.*_pruned\//.test(key))
  t.same(keys.sort(), ['format', 'pruning'])
})

t.test('what was written just now stays, with all that it needs', async (t) => {
  const { store, first, content, dir, site, written } = await startBucket(t)
  store.age(2 * day)
  addImage(content, 'new', [layerOf('base', 2 * MiB + 5), layerOf('new', 100)])
  site.clock.time += minute
  await pull(first, app, 'new')
  await written(first)
  // Its tag is on its way only.
  store.objects.delete(tagKey(app, 'new'))
  await prune(store, dir(), { untagged: true })
  t.same(lacking(store), [])
  await prune(store, dir(), { olderThan: 0 })
  const { contents } = holding(store)
  t.same([...contents].sort(), partsIn(content, digestIn(content.tags.get('new'))).sort())
  t.same(lacking(store), [])
})

function digestIn(digest: Digest | undefined): Digest {
  if (digest === undefined) throw new Error('there is no such tag')
  return digest
}

t.test('content that nothing names goes with the untagged', async (t) => {
  const { store, dir } = await startBucket(t)
  const digests = Array.from({ length: 2500 }, (_, number) => digestOf(`orphan ${number}`))
  for (const digest of digests) {
    await store.put(contentKey(digest), Buffer.from('x'), { ifAbsent: true })
  }
  store.age(2 * day)
  const { gone } = await prune(store, dir(), { untagged: true })
  t.equal(gone.length, 2500)
  t.same(holding(store).tags.length, 6)
  t.same(lacking(store), [])
})

t.test('least recently pulled first, until it is small enough', async (t) => {
  const { store, first, dir, site, written, serves } = await startBucket(t)
  store.age(3 * day)
  site.clock.time += 10 * minute
  await pull(first, app, '2')
  await written(first)
  const { left } = await prune(store, dir(), { to: 2.5 * MiB })
  t.ok(left.bytes <= 2.5 * MiB)
  t.ok(holding(store).tags.includes('2'))
  t.ok(await serves(app, '2'))
  t.same(lacking(store), [])
})

t.test('replicas tell of pulls by digest once a day', async (t) => {
  const { store, site, folder, first, content, dir, open, written } = await startBucket(t)
  for (const tag of ['0', '1', '2', 'list', 'other']) {
    store.objects.delete(tagKey(app, tag))
    store.objects.delete(tagKey(other, tag))
  }
  store.skew -= 30 * day
  site.clock.time += 30 * day
  await pull(first, app, digestIn(content.tags.get('1')))
  await first.close()
  const again = open(join(folder, 'first'))
  const link = sharedLinkKey(app, digestIn(content.tags.get('1')), 'manifest')
  await until(() => (store.objects.get(link)?.modified ?? 0) > Date.now() + day, 'it is told')
  await written(again)
  store.objects.forEach((_, key) => key.includes('/_tags/') && store.objects.delete(key))
  await prune(store, dir(), { notPulledFor: 7 * day })
  t.ok(holding(store).contents.has(digestIn(content.tags.get('1'))))
  t.notOk(holding(store).contents.has(digestIn(content.tags.get('2'))))
})

t.test('what was pruned comes back when somebody pulls it, and not before', async (t) => {
  const { store, folder, site, first, dir, open, written } = await startBucket(t)
  store.age(2 * day)
  site.clock.time += minute
  await prune(store, dir(), { olderThan: day })
  await first.close()
  const again = open(join(folder, 'first'))
  await until(() => site.requests.length > 0)
  await new Promise((resolve) => setTimeout(resolve, 1000))
  await written(again)
  t.same(holding(store), { tags: [], contents: new Set() })
  site.clock.time += 10 * minute
  await pull(again, app, 'list')
  await again.close()
  const third = open(join(folder, 'first'))
  await until(() => holding(store).tags.includes('list'), 'it is back')
  await written(third)
  t.same(holding(store).tags, ['list'])
  t.same(lacking(store), [])
})

t.test('what cannot be removed is told, and keeps its content', async (t) => {
  const { store, content, dir } = await startBucket(t)
  store.age(2 * day)
  const kept = tagKey(app, '0')
  store.before = (method, key) => {
    if (method === 'remove' && key === kept) throw new Error('AccessDenied')
  }
  const { told } = await prune(store, dir(), { olderThan: day })
  t.match(told.join('\n'), `${kept} stays: AccessDenied`)
  t.ok(holding(store).contents.has(digestIn(content.tags.get('0'))))
  t.same(lacking(store), [])
  store.before = () => undefined
  t.same((await prune(store, dir(), { olderThan: day })).left.bytes, 0)
})

t.test('a tag that has moved meanwhile stays, with its image', async (t) => {
  const { store, content, dir, serves } = await startBucket(t)
  store.age(2 * day)
  const [zero, two] = ['0', '2'].map((tag) => digestIn(content.tags.get(tag)))
  let reads = 0
  store.before = (method, key) => {
    if (method !== 'get' || key !== tagKey(app, '0') || (reads += 1) < 2) return
    const body = Buffer.from(JSON.stringify({ digest: two, checkedAt: Date.now() }))
    store.objects.set(key, { body, modified: Date.now() })
  }
  await t.rejects(prune(store, dir(), { olderThan: day }), /app:0 has moved/)
  t.ok(holding(store).contents.has(zero ?? ''))
  t.ok(await serves(app, '0'))
  t.same(lacking(store), [])
})

t.test('telling what would go changes nothing', async (t) => {
  const { store, dir } = await startBucket(t)
  store.age(2 * day)
  const before = [...store.objects.keys()]
  const { gone, left } = await prune(store, dir(), { olderThan: day }, { isDryRun: true })
  t.equal(gone.length, 5, 'one has two names')
  t.equal(left.bytes, 0)
  t.same([...store.objects.keys()], before)
})

t.test('the clock of the store counts, and one that is off is told', async (t) => {
  const { store, dir } = await startBucket(t)
  store.skew = 2 * day
  store.age(2 * day)
  const { gone, told } = await prune(store, dir(), { olderThan: day })
  t.same(gone, [], 'by this machine it would be two days old')
  t.match(told.join(), /the clock of this machine is 2d ahead of that of the store/)
})

t.test('a bucket of a newer format is left alone', async (t) => {
  const { store, dir } = await startBucket(t)
  await store.put('format', Buffer.from('2\n'), { ifAbsent: false })
  store.age(2 * day)
  await t.rejects(prune(store, dir(), { olderThan: day }), /is of format 2/)
  t.equal(holding(store).tags.length, 6)
})

t.test('replicas wait while it is pruned, and lack nothing afterwards', async (t) => {
  const { store, site, content, dir, first, written, serves } = await startBucket(t)
  store.age(2 * day)
  addImage(content, 'new', [layerOf('base', 2 * MiB + 5), layerOf('new', 100)])
  site.clock.time += 10 * minute
  let isPulled = false
  store.before = async (method, key) => {
    // All is judged by now: the base will go.
    if (method !== 'remove' || isPulled || key === '') return
    isPulled = true
    await pull(first, app, 'new')
    await new Promise((resolve) => setTimeout(resolve, 500))
    t.notOk(holding(store).tags.includes('new'))
    t.ok((first.sharedWaiting?.() ?? 0) > 0, 'it waits')
  }
  // Whoever was asked just now is believed for 10 seconds.
  await prune(store, dir(), { olderThan: day }, { settle: 11_000 })
  t.ok(isPulled)
  await until(() => holding(store).tags.includes('new'), 'it is written')
  await written(first)
  t.same(lacking(store), [])
  t.ok(await serves(app, 'new'))
})

t.test('what one repository loses in several steps is all recorded', async (t) => {
  const store = createMemoryStore()
  const index = openIndex(mkdtempFor(t))
  t.teardown(() => index.close())
  const { signal } = new AbortController()
  const remover = createRemover({
    store,
    bucket: { index, records: [], close: () => undefined },
    lease: { assertHeld: () => undefined, release: async () => undefined },
    now: 1_000_000,
    grace: 0,
    tell: (sentence) => t.fail(sentence),
    signal,
  })
  const digests = ['one', 'two'].map((text) => digestOf(Buffer.from(text)))
  for (const digest of digests) {
    await remover.remove({ tags: [], links: [{ ...app, digest, kind: 'blob' }], digests: [] })
  }
  const read = async (key: string) => store.objects.get(key)?.body
  t.same(new Set((await readPruned(store.objects.keys(), read)).keys()), new Set(digests))
})

t.test('what is read of the bucket is written in few commits, and beside no journal', async (t) => {
  const { store, dir } = await startBucket(t)
  store.age(2 * day)
  const alone: string[] = []
  type Prepare = (this: DatabaseSync, sql: string) => StatementSync
  const prepare: Prepare = Reflect.get(DatabaseSync.prototype, 'prepare')
  t.intercept(DatabaseSync.prototype, 'prepare', {
    value(this: DatabaseSync, sql: string) {
      const statement = prepare.call(this, sql)
      const run = statement.run.bind(statement)
      return Object.assign(statement, {
        run: (...args: Parameters<typeof run>) => {
          if (!this.isTransaction) alone.push(sql)
          return run(...args)
        },
      })
    },
  })
  const folder = dir()
  await prune(store, folder, { olderThan: day }, { isDryRun: true })
  t.same(alone, [])
  t.notOk(existsSync(join(folder, 'journal')))
})

t.test('a tag that lacks its time is no reason to prune nothing', async (t) => {
  const { store, content, dir } = await startBucket(t)
  const body = Buffer.from(JSON.stringify({ digest: content.tags.get('1') }))
  const { signal } = new AbortController()
  await store.put(tagKey(app, 'timeless'), body, { ifAbsent: false, signal })
  store.age(2 * day)
  const { gone } = await prune(store, dir(), named('registry.test/app:timeless'))
  t.same(gone, ['timeless'])
})
