// What cannot be written now is written later, in its order, and within a bound.
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { pino } from 'pino'
import t from 'tap'
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
