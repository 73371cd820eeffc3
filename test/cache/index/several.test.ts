// Several processes with one index: one of them keeps index and journal in order, the others do not get in its way.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { readJournal } from '../../../src/cache/index/journal/journal.ts'
import { setAside } from '../../../src/cache/index/database.ts'
import { createTolerantIndex } from '../../../src/cache/index/tolerant-index.ts'
import { createStorageProblems } from '../../../src/cache/storage-problems.ts'
import { openStore } from '../../../src/cache/store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { app } from '../../helpers/cache.ts'

const [one, two] = [digestOf('one'), digestOf('two')]

t.test('a journal that is gone is written by its keeper, with what all have added', async (t) => {
  const dir = t.testdir()
  openStore(dir)
  const keeper = openIndex(dir)
  const other = openIndex(dir, { isKeeper: false })
  t.teardown(() => keeper.close())
  t.teardown(() => other.close())
  const tags = () => [...readJournal(join(dir, 'journal'))].map(([, , , name]) => name)
  keeper.setTag(app, 'one', one)
  await keeper.sync()
  other.setTag(app, 'two', two)
  await other.sync()
  t.same(tags(), ['one', 'two'])

  rmSync(join(dir, 'journal'))
  other.setTag(app, 'three', one)
  await other.sync()
  t.notOk(existsSync(join(dir, 'journal')), 'it would lack what it does not know')
  await keeper.sync()
  t.same(new Set(tags()), new Set(['one', 'two', 'three']))
  await other.sync()
  t.same(new Set(tags()), new Set(['one', 'two', 'three']))
})

t.test('who finds damage that another has mended takes what that has made', async (t) => {
  const dir = t.testdir()
  const { folder } = openStore(dir)
  const problems = createStorageProblems(pino({ enabled: false }), () => undefined)
  const open = () => {
    const index = createTolerantIndex(openIndex(dir), problems, (isDamaged) => {
      if (isDamaged) setAside(folder)
      return openIndex(dir)
    })
    t.teardown(() => index.close())
    return index
  }
  const [first, second] = [open(), open()]
  first.replace('damaged')
  first.setTag(app, 'latest', one)
  await first.settle()
  second.replace('damaged')
  t.equal(second.tag(app, 'latest')?.digest, one)
  const aside = readdirSync(folder.quarantine).filter((name) => name.endsWith('.db'))
  t.equal(aside.length, 1)
})
