// An index that is in memory gives way to one on the disk: once that is made, or can be.
import { mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { keepIndex } from '../../../src/cache/index/kept-index.ts'
import { createStorageProblems } from '../../../src/cache/storage-problems.ts'
import { openStore } from '../../../src/cache/store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { until } from '../../helpers/cache.ts'

const log = pino({ enabled: false })
const place = { upstream: 'registry.test', repository: 'app' }
const other = { upstream: 'registry.test', repository: 'other' }
const [one, two] = [digestOf('1'), digestOf('2')]

function keep(t: Test, dir: string, isKeeper = true) {
  const store = openStore(dir)
  const events: string[] = []
  const kept = keepIndex({
    dir,
    store,
    log,
    storageProblems: createStorageProblems(log, () => undefined),
    onEvent: (event) => void events.push(event),
    retryEvery: 20,
    isKeeper,
  })
  let isOpen = true
  const close = async () => {
    if (!isOpen) return
    isOpen = false
    await kept.stop()
    await kept.index.settle()
    kept.index.close()
    store.close()
  }
  t.teardown(close)
  return { ...kept, close, events }
}

const links = 40_000

/** A cache that had many links, and lost its index. */
function loseIndex(t: Test): string {
  const dir = t.testdir()
  const store = openStore(dir)
  const index = openIndex(dir)
  index.transaction(() => {
    for (let at = 0; at < links; at += 1) index.addLink(place, digestOf(`link ${at}`), 'blob')
  })
  index.setTag(place, 'latest', one, 1)
  index.setTag(place, 'gone', one, 1)
  index.addLink(other, one, 'manifest')
  index.close()
  store.close()
  t.ok(statSync(join(dir, 'journal')).size > 4 * 2 ** 20)
  for (const suffix of ['', '-wal', '-shm']) rmSync(join(dir, `index.db${suffix}`), { force: true })
  return dir
}

t.test(
  'a long journal is read in the background, and what is learned meanwhile stays',
  async (t) => {
    const dir = loseIndex(t)
    const { index, events, close } = keep(t, dir)
    t.ok(index.isProvisional(), 'nobody has waited')
    t.same(events, ['missing_index'])
    index.addLink(other, two, 'manifest')
    index.setTag(place, 'latest', two, 2)
    index.dropTag(place, 'gone')
    await until(() => !index.isProvisional(), 'the index')
    t.match(index.tag(place, 'latest'), { digest: two })
    t.equal(index.tag(place, 'gone'), undefined)
    t.same(index.linkKinds(other, one), ['manifest'])
    t.same(index.linkKinds(other, two), ['manifest'])
    for (const at of [0, links / 2, links - 1]) {
      t.same(index.linkKinds(place, digestOf(`link ${at}`)), ['blob'])
    }
    await close()
    t.same(readdirSync(join(dir, 'tmp')), [])
    const again = openIndex(dir)
    t.teardown(() => again.close())
    t.equal(again.links().length, links + 2, 'it is on the disk')
  },
)

t.test('who does not make it waits for the one who does', async (t) => {
  const dir = loseIndex(t)
  const [keeper, waiting] = [keep(t, dir), keep(t, dir, false)]
  t.ok(waiting.index.isProvisional())
  const look = setInterval(() => void waiting.index.settle(), 50)
  t.teardown(() => clearInterval(look))
  await waiting.whole()
  t.notOk(waiting.index.isProvisional())
  t.match(waiting.index.tag(place, 'latest'), { digest: one })
  await keeper.whole()
})

t.test('ended while it is made, it is made at the next start', async (t) => {
  const dir = loseIndex(t)
  const first = keep(t, dir)
  first.index.addLink(other, two, 'manifest')
  await first.close()
  t.same(readdirSync(join(dir, 'tmp')), [])
  const { index } = keep(t, dir)
  await until(() => !index.isProvisional(), 'the index')
  t.same(index.linkKinds(other, two), ['manifest'])
  t.same(index.linkKinds(other, one), ['manifest'])
})

t.test('what could not be opened is tried again, and gets what was learned', async (t) => {
  const dir = t.testdir()
  const store = openStore(dir)
  const before = openIndex(dir)
  before.addLink(place, one, 'blob')
  before.close()
  store.close()
  rmSync(join(dir, 'index.db'))
  mkdirSync(join(dir, 'index.db'))
  const { index, close } = keep(t, dir)
  t.ok(index.isVolatile())
  t.same(index.linkKinds(place, one), ['blob'], 'from the journal')
  index.addLink(other, two, 'manifest')
  rmdirSync(join(dir, 'index.db'))
  await until(() => !index.isVolatile(), 'the index')
  t.same(index.linkKinds(other, two), ['manifest'])
  await close()
  const again = openIndex(dir)
  t.teardown(() => again.close())
  t.same(again.linkKinds(place, one), ['blob'])
  t.same(again.linkKinds(other, two), ['manifest'])
})
