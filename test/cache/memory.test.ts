// The tier in memory by itself: what it forgets, and what it must not take for something else.
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { openIndex } from '../../src/cache/index/content-index.ts'
import { createTolerantIndex } from '../../src/cache/index/tolerant-index.ts'
import { createMemory } from '../../src/cache/memory.ts'
import { createStorageProblems } from '../../src/cache/storage-problems.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { app } from '../helpers/cache.ts'

function open(t: Test, bytes = 1_000_000) {
  const dir = t.testdir()
  const index = createTolerantIndex(
    openIndex(dir, { patience: 100 }),
    createStorageProblems(pino({ level: 'silent' }), () => undefined),
  )
  t.teardown(() => index.close())
  return { dir, index, memory: createMemory({ index, bytes, now: () => 1 }) }
}

t.test('a link of a blob opens no manifest, and the other way round', async (t) => {
  const { memory } = open(t)
  const [blob, manifest] = [digestOf('blob'), digestOf('manifest')]
  memory.link(app, blob, 'blob')
  memory.link(app, manifest, 'manifest')
  t.same(
    [memory.isLinked(app, blob, 'blob'), memory.isLinked(app, blob, 'manifest')],
    [true, false],
  )
  t.equal(memory.isLinked(app, manifest, 'blob'), false)
})

t.test('a tag that was dropped is gone from memory too', async (t) => {
  const { memory } = open(t)
  memory.setTag(app, 'latest', digestOf('x'))
  t.match(memory.tag(app, 'latest'), { digest: digestOf('x') })
  memory.dropTag(app, 'latest')
  t.equal(memory.tag(app, 'latest'), undefined)
})

t.test('what another process has changed in the index counts after a reload', async (t) => {
  const { memory, index } = open(t)
  memory.setTag(app, 'latest', digestOf('old'))
  index.setTag(app, 'latest', digestOf('new'), 2)
  t.match(memory.tag(app, 'latest'), { digest: digestOf('old') })
  memory.reload()
  t.match(memory.tag(app, 'latest'), { digest: digestOf('new') })
})

t.test('small content is kept within its budget, the newest last to go', async (t) => {
  const { memory } = open(t, 20_000)
  const smalls = Array.from({ length: 50 }, (_, at) => {
    const bytes = Buffer.alloc(1000, at)
    return { kind: 'small' as const, digest: digestOf(bytes), mediaType: 'a/b', bytes }
  })
  for (const small of smalls) memory.keep(small)
  const left = smalls.filter(({ digest }) => memory.small(digest) !== undefined)
  t.ok(left.length > 5 && left.length <= 20, `${left.length} are left`)
  t.same(left, smalls.slice(-left.length))
})
