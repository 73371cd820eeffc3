// Many repositories are listed in steps, in the order of their whole names.
import t from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import type { Place } from '../../../src/oci/place.ts'
import { listed, startSite } from '../../helpers/cache.ts'

const digest = digestOf('x')
const nameOf = ({ upstream, repository }: Place): string => `${upstream}/${repository}`

t.test('ten thousand repositories let others in between', async (t) => {
  const { cache, dir } = await startSite(t)
  const index = openIndex(dir)
  t.teardown(() => index.close())
  const names = Array.from({ length: 10_000 }, (_, at) => `r${at}`)
  index.transaction(() => {
    for (const repository of names) {
      index.addLink({ upstream: 'registry.test', repository }, digest, 'manifest')
    }
  })
  let turns = 0
  let isOver = false
  const turn = (): void => {
    turns += 1
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  const found: string[] = []
  let most = 0
  for await (const places of cache.repositories()) {
    most = Math.max(most, places.length)
    found.push(...places.map(({ repository }) => repository))
  }
  isOver = true
  t.same(found, names.toSorted())
  t.ok(most <= 100, `${most} in a row`)
  t.ok(turns >= 100, `${turns} turns of the event loop`)
})

t.test('upstreams whose names begin alike, and what holds blobs only', async (t) => {
  const { cache, dir } = await startSite(t)
  const index = openIndex(dir)
  t.teardown(() => index.close())
  const places = ['a', 'a-b', 'a.b', 'a:5000', 'ab'].flatMap((upstream) =>
    ['x', 'x-y', 'x/y'].map((repository) => ({ upstream, repository })),
  )
  for (const place of places) index.setTag(place, 'latest', digest)
  index.addLink({ upstream: 'a', repository: 'blobs' }, digest, 'blob')
  const names = places.map(nameOf).sort()
  t.same((await listed(cache)).map(nameOf), names)
  for (const [at, after] of names.entries()) {
    const rest = await listed(cache, after)
    t.same(rest.map(nameOf), names.slice(at + 1), `after ${after}`)
  }
  const behind = await listed(cache, 'a.a/z')
  t.same(
    behind.map(nameOf),
    names.filter((name) => name > 'a.a/z'),
  )
})
