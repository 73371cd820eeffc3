// What is written together; what cannot be written now is written later, in its order, and within a bound.
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout } from 'node:timers/promises'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { createTolerantIndex } from '../../../src/cache/index/tolerant-index.ts'
import { createStorageProblems } from '../../../src/cache/storage-problems.ts'
import { openStore } from '../../../src/cache/store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { app } from '../../helpers/cache.ts'

t.test('writes that wait for somebody else are bounded: the oldest go first', async (t) => {
  const dir = t.testdir()
  openStore(dir)
  const problems = createStorageProblems(pino({ enabled: false }), () => undefined)
  const index = createTolerantIndex(openIndex(dir, { patience: 1 }), problems)
  t.teardown(() => index.close())
  const lock = new DatabaseSync(join(dir, 'index.db'))
  t.teardown(() => lock.close())
  lock.exec('BEGIN IMMEDIATE')
  const digest = digestOf('x')
  for (let number = 0; number < 10_005; number += 1) index.setTag(app, `t${number}`, digest)
  t.match(problems.recent(), /writing the index/)
  t.same(index.tagsOf(app), [])
  lock.exec('COMMIT')
  await index.settle()
  const names = index.tagsOf(app)
  t.equal(names.length, 10_000)
  t.notOk(names.includes('t4'))
  t.ok(names.includes('t5'))
  t.ok(names.includes('t10004'))
})

/** An index, and how it looks to another process. */
function opened(t: Test) {
  const dir = t.testdir()
  openStore(dir)
  const problems = createStorageProblems(pino({ enabled: false }), () => undefined)
  const index = createTolerantIndex(openIndex(dir, { patience: 1 }), problems)
  const other = new DatabaseSync(join(dir, 'index.db'))
  t.teardown(() => {
    index.close()
    other.close()
  })
  const outside = (table: string) =>
    Number(other.prepare(`SELECT count(*) AS count FROM ${table}`).get()?.['count'])
  return { index, other, outside, problems }
}

const facts = { mediaType: 'application/octet-stream', size: 1, mtime: 1 }

t.test('writes of a moment are one transaction, and seen by every read before', async (t) => {
  const { index, outside } = opened(t)
  const [one, two] = [digestOf('1'), digestOf('2')]
  index.addContent(one, facts)
  index.addLink(app, one, 'blob')
  index.addEdges(two, [one])
  index.setTag(app, 'latest', two)
  t.equal(index.content(two), undefined, 'another one')
  t.same([outside('content'), outside('link'), outside('edge'), outside('tag')], [0, 0, 0, 0])
  t.equal(index.content(one)?.size, 1)
  t.same([outside('content'), outside('link'), outside('edge'), outside('tag')], [1, 1, 1, 1])
  const reads: [string, () => unknown, unknown][] = [
    ['links', () => index.linkKinds(app, two), ['manifest']],
    ['links of an upstream', () => index.isLinkedBy(app.upstream, two), true],
    ['all links', () => index.current().links({ digest: two }).length, 1],
  ]
  for (const [name, read, wanted] of reads) {
    index.addLink(app, two, 'manifest')
    t.same(read(), wanted, name)
    index.current().dropLink(app, two)
  }
  index.setTag(app, 'latest', one)
  t.equal(index.tag(app, 'latest')?.digest, one)
  index.setTag(app, 'next', one)
  t.same(index.tagsOf(app), ['latest', 'next'])
  index.addEdges(one, [two])
  t.same(index.childrenOf(one), [two])
  index.addEdges(two, [two])
  t.same(index.parentsOf(two), [one, two])
})

t.test('nobody has to ask: they are written in a moment, or when there are many', async (t) => {
  const { index, outside } = opened(t)
  index.addContent(digestOf('1'), facts)
  while (outside('content') === 0) await setTimeout(5)
  for (let number = 0; number < 1000; number += 1) index.addContent(digestOf(`n${number}`), facts)
  t.ok(outside('content') > 900)
  index.dropContent(digestOf('1'))
  t.equal(outside('content'), 1000, 'what is removed is not there any more at once')
})

t.test('where one fails none is lost, and their order stays', async (t) => {
  const { index, other, outside, problems } = opened(t)
  other.exec('BEGIN IMMEDIATE')
  index.setTag(app, 'latest', digestOf('1'))
  index.addContent(digestOf('1'), facts)
  t.equal(index.content(digestOf('1')), undefined)
  t.match(problems.recent(), /writing the index/)
  index.setTag(app, 'latest', digestOf('2'))
  index.dropContent(digestOf('1'))
  index.addContent(digestOf('2'), facts)
  other.exec('COMMIT')
  await index.settle()
  t.equal(index.tag(app, 'latest')?.digest, digestOf('2'))
  t.notOk(index.content(digestOf('1')))
  t.ok(index.content(digestOf('2')))
  t.equal(outside('content'), 1)
})
