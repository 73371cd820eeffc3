// How long a tag holds: which of several patterns decides.
import t from 'tap'
import { createTagTtls, listTtl } from '../../../src/cache/freshness/tag-ttl.ts'
import { app, minute, startSite } from '../../helpers/cache.ts'

t.test('the most specific pattern wins, whatever the order', async (t) => {
  const never = Number.POSITIVE_INFINITY
  const map = { '*': 1, 'v*': 2, 'v1.*': 3, 'v*-rc*': 4, 'v1.5': 5, 'sha-*': never, '*-slim': 6 }
  const reversed = Object.fromEntries(Object.entries(map).toReversed())
  const cases: [tag: string, ttl: number][] = [
    ['latest', 1],
    ['v2', 2],
    ['v1.4', 3],
    ['v1.5', 5],
    ['v2-rc1', 4],
    ['sha-1f2e', never],
    ['v1-slim', 6],
  ]
  const ttlOf = createTagTtls()
  for (const [tag, ttl] of cases) {
    t.equal(ttlOf(map, tag), ttl, tag)
    t.equal(ttlOf(reversed, tag), ttl, `${tag}, written the other way round`)
  }
  t.equal(ttlOf({ 'a*': 1, '*b': 2 }, 'ab'), 1, 'of two that are as specific the first')
  t.equal(ttlOf(7, 'latest'), 7)
  t.same([listTtl(map), listTtl(7)], [1, 7])
})

t.test('a tag is asked again by its own time, or never', async (t) => {
  const tagTtl = { '*': minute, '1.*': Number.POSITIVE_INFINITY }
  const site = await startSite(t, { freshnessOf: () => ({ tagTtl, staleIfError: 0 }) })
  const { cache, upstream, clock } = site
  for (const tag of ['latest', '1.0']) await cache.tag(app, tag)
  clock.time += 10_000 * minute
  for (const tag of ['latest', '1.0']) await cache.tag(app, tag)
  t.equal(upstream.count(/^HEAD .*latest/), 1)
  t.equal(upstream.count(/1\.0/), 1, 'once, when it was unknown')
})
