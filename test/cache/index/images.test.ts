import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import * as fc from 'fast-check'
import t, { type Test } from 'tap'
import { openIndex, type Index } from '../../../src/cache/index/content-index.ts'
import { openStore } from '../../../src/cache/store.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'

const place = { upstream: 'docker.io', repository: 'library/alpine' }
const digests = ['a', 'b', 'c', 'd', 'e', 'f'].map((text) => digestOf(text))
const facts = { mediaType: 'a/b', size: 10, mtime: 1 }

function open(t: Test, dir = t.testdir()) {
  openStore(dir).close()
  const index = openIndex(dir)
  t.teardown(() => index.close())
  return { dir, index }
}

const aDigest = fc.nat(digests.length - 1).map((number) => digests[number] as Digest)
const aName = fc.constantFrom('one', 'two')

/** What may happen to an index, in any order; no manifest lists one with a smaller letter. */
const change: fc.Arbitrary<(index: Index) => void> = fc.oneof(
  aDigest.map((digest) => (index: Index) => index.addContent(digest, facts)),
  aDigest.map((digest) => (index: Index) => index.addContent(digest, { ...facts, size: 25 })),
  aDigest.map((digest) => (index: Index) => index.dropContent(digest)),
  aDigest.map((digest) => (index: Index) => void index.dropStored(digest, facts.mtime)),
  fc.tuple(aDigest, aDigest).map(([one, other]) => (index: Index) => {
    const [parent, child] =
      digests.indexOf(one) < digests.indexOf(other) ? [one, other] : [other, one]
    if (parent !== child) index.addEdges(parent, [child])
  }),
  fc.tuple(aName, aDigest).map(
    ([name, digest]) =>
      (index: Index) =>
        index.setTag(place, name, digest),
  ),
  aName.map((name) => (index: Index) => index.dropTag(place, name)),
  fc
    .oneof(aName, aDigest)
    .map((reference) => (index: Index) => index.pin({ ...place, reference }, 'operator')),
  fc
    .oneof(aName, aDigest)
    .map((reference) => (index: Index) => index.unpin({ ...place, reference }, 'operator')),
)

/** The same by going through everything. */
function expected(index: Index) {
  const contents = new Map(index.contents().map(({ digest, size }) => [digest, size]))
  const pins = new Set(index.pins().map(({ reference }) => reference))
  const isPinned = (digest: Digest) =>
    pins.has(digest) || index.tags().some((tag) => tag.digest === digest && pins.has(tag.name))
  const isBelow = (digest: Digest) => index.parentsOf(digest).some((parent) => contents.has(parent))
  const standing = [...contents.keys()].map((digest) => [
    digest,
    isPinned(digest) ? 'kept' : isBelow(digest) ? 'below' : 'free',
  ])
  const bytes = [...contents.values()].reduce((sum, size) => sum + size, 0)
  return { standing, holding: { bytes, entries: contents.size } }
}

t.test('sums and standings are true whatever happens', async (t) => {
  const { index } = open(t)
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
      for (const one of changes) one(index)
      const { standing, holding } = expected(index)
      t.same(index.holding(), holding)
      t.same(
        standing.map(([digest]) => [digest, index.standing(digest as Digest)]),
        standing,
      )
      const free = standing.filter(([, one]) => one === 'free').map(([digest]) => digest)
      t.same(new Set(index.oldest(undefined, 100).map(({ digest }) => digest)), new Set(free))
      return t.passing()
    }),
    { numRuns: 200 },
  )
})

t.test(
  'a pull of any manifest of an image is one of the image, and of what refers to it',
  async (t) => {
    const { index } = open(t)
    const [multi, platform, layer, signature] = digests as [Digest, Digest, Digest, Digest]
    for (const digest of [multi, platform, layer, signature]) index.addContent(digest, facts, 1)
    index.addEdges(multi, [platform])
    index.addEdges(platform, [layer])
    index.addEdges(signature, [multi], 'subject')
    index.touchContents(new Map([[layer, 5]]))
    t.equal(index.content(multi)?.accessed, 1, 'a layer may be of many')
    index.touchContents(new Map([[platform, 7]]))
    t.equal(index.content(multi)?.accessed, 7)
    index.touchContents(new Map([[multi, 9]]))
    t.equal(index.content(signature)?.accessed, 9)
    t.match(index.oldest(undefined, 1), [{ accessed: 9 }])
    t.same(index.oldest({ digest: 'sha256:z' as Digest, accessed: 9 }, 5), [])
  },
)

t.test('an index of the version before is brought forward', async (t) => {
  const { dir, index } = open(t)
  const [multi, platform, layer] = digests as [Digest, Digest, Digest]
  for (const digest of [multi, platform, layer]) index.addContent(digest, facts, 1)
  index.addEdges(multi, [platform])
  index.addEdges(platform, [layer])
  index.addLink(place, multi, 'manifest')
  index.setTag(place, 'latest', multi)
  await index.sync()
  const sqlite = new DatabaseSync(join(dir, 'index.db'))
  const triggers = sqlite.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all()
  for (const { name } of triggers) sqlite.exec(`DROP TRIGGER ${String(name)}`)
  sqlite.exec(`DROP INDEX content_oldest; DROP INDEX content_kept; DROP TABLE holding;
    ALTER TABLE content DROP COLUMN root; DROP TABLE pin;
    CREATE TABLE pin (digest TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
    INSERT INTO pin VALUES ('${multi}'); PRAGMA user_version = 1`)
  sqlite.close()
  const again = openIndex(dir)
  t.teardown(() => again.close())
  t.same(again.holding(), { bytes: 30, entries: 3 })
  t.same(
    [multi, platform, layer].map((digest) => again.standing(digest)),
    ['kept', 'below', 'below'],
  )
  t.match(again.pins(), [{ ...place, reference: multi, owner: 'operator' }])
  t.match(again.tags(), [{ name: 'latest' }])
})
