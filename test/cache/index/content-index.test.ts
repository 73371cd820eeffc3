import { writeFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { openIndex, type Index } from '../../../src/cache/index/content-index.ts'
import { openStore } from '../../../src/cache/store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { asNobody } from '../../helpers/nobody.ts'

const place = { upstream: 'docker.io', repository: 'library/alpine' }
const other = { upstream: 'docker.io', repository: 'library/busybox' }
const [one, two, three] = [digestOf('1'), digestOf('2'), digestOf('3')]

function open(t: Test, dir = t.testdir()) {
  openStore(dir)
  const index = openIndex(dir)
  t.teardown(() => {
    try {
      index.close()
    } catch {
      // The test has closed it.
    }
  })
  return { dir, index }
}

const held = ({ repositories }: Index) => repositories(place.upstream, '', 100).held

t.test('content', async (t) => {
  const { index } = open(t)
  t.equal(index.content(one), undefined)
  index.addContent(one, { mediaType: 'a/b', size: 3, mtime: 1.25 }, 1000)
  t.match(index.content(one), {
    mediaType: 'a/b',
    size: 3,
    mtime: 1.25,
    created: 1000,
    accessed: 1000,
  })
  index.addContent(one, { mediaType: 'c/d', size: 4, mtime: 2 }, 2000)
  t.match(index.content(one), { mediaType: 'c/d', size: 4, created: 1000, accessed: 2000 })
  index.touchContents(
    new Map([
      [one, 3000],
      [two, 3000],
    ]),
  )
  index.touchContents(new Map([[one, 2500]]))
  t.match(index.contents(), [{ digest: one, accessed: 3000 }])
  const name = { ...place, reference: 'latest' }
  index.pin(name, 'operator')
  index.pin(name, 'operator')
  index.pin(name, 'shelf')
  t.match(index.pins(), [
    { ...name, owner: 'operator' },
    { ...name, owner: 'shelf' },
  ])
  index.unpin(name, 'operator')
  t.match(index.pins(), [{ ...name, owner: 'shelf' }])
  index.dropContent(one)
  t.equal(index.content(one), undefined)
})

t.test('links, tags and repositories', async (t) => {
  const { index } = open(t)
  index.addLink(place, one, 'manifest')
  index.addLink(place, one, 'manifest')
  index.addLink(place, one, 'blob')
  index.addLink(other, two, 'blob')
  t.same(index.linkKinds(place, one).sort(), ['blob', 'manifest'])
  t.same(index.linkKinds(other, one), [])
  t.equal(index.links().length, 3)
  t.match(index.links({ place: other }), [{ ...other, digest: two, kind: 'blob' }])
  t.equal(index.links({ digest: one }).length, 2)
  t.same(index.upstreams(), [place.upstream])
  t.same(held(index), [place.repository])
  index.setTag(other, 'latest', two, 5)
  index.setTag(other, '1.0', two, 5)
  index.setTag(other, 'latest', three, 6)
  t.match(index.tag(other, 'latest'), { digest: three, checkedAt: 6 })
  t.same(index.tagsOf(other), ['1.0', 'latest'])
  t.equal(index.tags().length, 2)
  t.same(held(index), [place.repository, other.repository].sort())
  index.dropTag(other, 'latest')
  t.equal(index.tag(other, 'latest'), undefined)
  index.dropLink(place, one)
  t.same(index.linkKinds(place, one), [])
})

t.test('edges and referrers', async (t) => {
  const { index } = open(t)
  index.addEdges(one, [two, three])
  index.addEdges(two, [one], 'subject')
  t.same(index.childrenOf(one).sort(), [two, three].sort())
  t.same(index.parentsOf(three), [one])
  t.same(index.parentsOf(one, 'subject'), [two])
  t.same(index.parentsOf(one), [])
  index.setReferrers(place, one, '[]', 1)
  index.setReferrers(place, one, '[1]', 2)
  t.match(index.referrers(place, one), { body: '[1]', checkedAt: 2 })
  t.equal(index.referrers(other, one), undefined)
})

t.test('a transaction is all or nothing, and seen by other processes', async (t) => {
  const { dir, index } = open(t)
  const second = openIndex(dir)
  t.teardown(() => second.close())
  t.throws(() =>
    index.transaction(() => {
      index.setTag(place, 'a', one)
      throw new Error('no')
    }),
  )
  t.same(index.tagsOf(place), [])
  t.equal(second.hasChanged(), false)
  index.transaction(() => index.setTag(place, 'a', one))
  t.equal(second.hasChanged(), true)
  t.equal(second.hasChanged(), false)
  t.equal(index.hasChanged(), false, 'its own writes do not count')
  t.same(second.tagsOf(place), ['a'])
})

t.test('what is written is made durable, once', async (t) => {
  const { index } = open(t)
  t.equal(await index.sync(), true, 'the tables')
  t.equal(await index.sync(), false)
  index.setTag(place, 'a', one)
  index.addLink(place, one, 'manifest')
  t.equal(await index.sync(), true)
  t.equal(await index.sync(), false)
  index.addLink(place, one, 'manifest')
  t.equal(await index.sync(), false, 'nothing new')
})

t.test('a damaged index is put aside, a newer one refused', async (t) => {
  const { dir, index } = open(t)
  index.close()
  writeFileSync(join(dir, 'index.db'), Buffer.alloc(5000, 'x'))
  const fresh = openIndex(dir)
  t.same(fresh.upstreams(), [])
  fresh.close()
  t.match(readdirSync(join(dir, 'quarantine')), [/^index-/])
  const sqlite = new DatabaseSync(join(dir, 'index.db'))
  sqlite.exec('PRAGMA user_version = 3')
  sqlite.close()
  t.throws(() => openIndex(dir), /cache\.dir: .*newer version/)
})

t.test('where the folder is read-only, what it knows is copied to memory', async (t) => {
  const { dir, index } = open(t)
  index.setTag(place, 'latest', one, 7)
  index.close()
  await asNobody([dir], async () => {
    const { index: copy } = open(t, dir)
    t.equal(copy.isVolatile, true)
    t.match(copy.tag(place, 'latest'), { digest: one, checkedAt: 7 })
    copy.setTag(place, 'latest', two)
    t.match(copy.tag(place, 'latest'), { digest: two })
  })
  t.match(openIndex(dir).tag(place, 'latest'), { digest: one })
})
