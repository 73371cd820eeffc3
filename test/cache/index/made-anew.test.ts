// The index is expendable: damaged, deleted or lost, it is made anew from the journal and the files.
import {
  appendFileSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t, { type Test } from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { openStore } from '../../../src/cache/store.ts'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { app, hashAll, largest, other, startSite, storedIn, until } from '../../helpers/cache.ts'

type Site = Awaited<ReturnType<typeof startSite>>
type Opened = ReturnType<Site['open']>

/** All of the image, by its tag; stored. */
async function pullAll({ image, dir, site }: Site, cache: Opened): Promise<void> {
  await cache.tag(app, 'latest')
  for (const digest of image.manifests.keys()) await cache.manifest(app, digest)
  for (const digest of image.blobs.keys()) await hashAll(await cache.blob(app, digest))
  if (site.offline) return
  await until(() => storedIn(dir).length === image.manifests.size + image.blobs.size, 'storing')
}

async function assertOffline(t: Test, site: Site, cache: Opened): Promise<void> {
  site.site.offline = true
  const { content } = await cache.tag(app, 'latest')
  t.equal(content.mediaType, 'application/vnd.oci.image.index.v1+json')
  await t.resolves(pullAll(site, cache), 'every part of the image is served')
  await t.rejects(async () => cache.blob(other, largest(site.image)[0]), { code: 'UNAVAILABLE' })
}

/** Every page but the first. */
function damageInside(dir: string): void {
  const file = join(dir, 'index.db')
  const fd = openSync(file, 'r+')
  writeSync(fd, Buffer.alloc(statSync(file).size - 4096, 'x'), 0, undefined, 4096)
  closeSync(fd)
}

function removeIndex(dir: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(join(dir, `index.db${suffix}`), { force: true })
}

t.test('deleted while the gateway is stopped: offline, every image pulls as before', async (t) => {
  const site = await startSite(t)
  await pullAll(site, site.cache)
  await site.cache.close()
  removeIndex(site.dir)
  const cache = site.open()
  await assertOffline(t, site, cache)
  t.same(site.events, ['missing_index'])
  t.ok(site.lines.some(({ msg }) => /index of the cache is not there/.test(String(msg))))
})

t.test('damaged behind its first page: noticed at the start, set aside, made anew', async (t) => {
  const site = await startSite(t)
  await pullAll(site, site.cache)
  await site.cache.close()
  damageInside(site.dir)
  const cache = site.open()
  await assertOffline(t, site, cache)
  t.same(site.events, ['damaged_index'])
  t.match(readdirSync(join(site.dir, 'quarantine')), [/^index-/])
})

t.test('deleted under a running gateway: made again, with what it learned meanwhile', async (t) => {
  const site = await startSite(t)
  await site.cache.tag(app, 'latest')
  removeIndex(site.dir)
  await pullAll(site, site.cache)
  await until(() => existsSync(join(site.dir, 'index.db')), 'the index')
  t.same(site.events, ['missing_index'])
  await site.cache.close()
  await assertOffline(t, site, site.open())
})

t.test('index and journal deleted under a running gateway: what it knew stays', async (t) => {
  const site = await startSite(t)
  await pullAll(site, site.cache)
  rmSync(join(site.dir, 'journal'), { force: true })
  removeIndex(site.dir)
  await until(() => existsSync(join(site.dir, 'index.db')), 'the index')
  await site.cache.close()
  await assertOffline(t, site, site.open())
})

t.test('the index and the journal are lost: the files tell what they are', async (t) => {
  const site = await startSite(t)
  const { image, dir } = site
  await pullAll(site, site.cache)
  await site.cache.close()
  removeIndex(dir)
  rmSync(join(dir, 'journal'))
  const again = site.open()
  const index = openIndex(dir)
  t.teardown(() => index.close())
  await until(() => !index.lacksFacts(), 'reading the files')
  t.equal(index.contents().length, image.manifests.size + image.blobs.size)
  for (const [digest, { mediaType, bytes }] of image.manifests) {
    t.match(index.content(digest), { mediaType, size: bytes.length })
    t.ok(index.childrenOf(digest).length > 0)
  }
  t.same(index.links(), [], 'nobody has shown that it may have it')
  site.site.offline = true
  await t.rejects(async () => again.blob(app, largest(image)[0]), { code: 'UNAVAILABLE' })
})

t.test(
  'made anew, what lies there is asked for by HEAD, and hashed before it is sent',
  async (t) => {
    const image = await buildSampleImage({ layerBytes: 2_000_000 })
    const site = await startSite(t, { image, repositories: { app: image, other: image } })
    const { upstream, dir } = site
    await pullAll(site, site.cache)
    await site.cache.close()
    removeIndex(dir)
    const cache = site.open()
    const index = openIndex(dir)
    t.teardown(() => index.close())
    await until(() => !index.lacksFacts(), 'reading the files')
    const [digest] = largest(image)
    const before = upstream.count(/^GET .*blobs/)
    t.equal(await hashAll(await cache.blob(app, digest)), digest)
    t.equal(await hashAll(await cache.blob(other, digest)), digest)
    t.equal(upstream.count(/^GET .*blobs/), before)
    t.equal(upstream.count(/^HEAD .*other.blobs/), 1)
    await cache.close()

    removeIndex(dir)
    const [, hex = ''] = digest.split(':')
    const file = join(dir, 'blobs/sha256', hex.slice(0, 2), hex)
    const bytes = readFileSync(file)
    bytes[1000] = (bytes[1000] ?? 0) ^ 1
    writeFileSync(file, bytes)
    const again = site.open()
    t.equal(await hashAll(await again.blob(app, digest)), digest)
    t.ok(site.events.includes('wrong_file'))
  },
)

t.test(
  'a journal with damaged and broken lines: the others count, and it is added to',
  async (t) => {
    const dir = t.testdir()
    openStore(dir).close()
    const first = openIndex(dir)
    const [one, two, three] = [digestOf('1'), digestOf('2'), digestOf('3')]
    first.addLink(app, one, 'blob')
    first.addLink(app, two, 'blob')
    first.setTag(app, 'a', one, 1)
    first.setTag(app, 'a', two, 2)
    first.setTag(app, 'b', two, 2)
    first.dropTag(app, 'b')
    first.pin({ ...app, reference: 'a' }, 'operator')
    first.pin({ ...app, reference: two }, 'shelf')
    first.close()
    const second = openIndex(dir)
    second.dropLink(app, one)
    second.unpin({ ...app, reference: 'a' }, 'operator')
    second.setTag(app, 'a', three, 3)
    second.close()
    const path = join(dir, 'journal')
    const text = readFileSync(path, 'utf8')
    writeFileSync(path, text.replace(`"${three}"`, `"${one}"`))
    appendFileSync(path, '\0\0\0 ["link"]\nrubbish\n00000000 ["link","registry.test","x')
    removeIndex(dir)
    const third = openIndex(dir)
    t.same(
      third.links().map(({ digest }) => digest),
      [two],
    )
    t.match(third.tags(), [{ name: 'a', digest: two, checkedAt: 2 }])
    t.match(third.pins(), [{ ...app, reference: two, owner: 'shelf' }])
    t.equal(third.pins().length, 1)
    third.addLink(other, three, 'manifest')
    third.close()
    removeIndex(dir)
    const fourth = openIndex(dir)
    t.equal(fourth.links().length, 2)
    fourth.close()
  },
)

t.test('what a transaction undoes is not in the journal', async (t) => {
  const dir = t.testdir()
  openStore(dir).close()
  const index = openIndex(dir)
  t.throws(() =>
    index.transaction(() => {
      index.addLink(app, digestOf('1'), 'blob')
      throw new Error('undone')
    }),
  )
  index.transaction(() => index.addLink(app, digestOf('2'), 'blob'))
  index.close()
  removeIndex(dir)
  const again = openIndex(dir)
  t.same(
    again.links().map(({ digest }) => digest),
    [digestOf('2')],
  )
  again.close()
})

t.test('a journal that has become long is written anew, with what comes meanwhile', async (t) => {
  const dir = t.testdir()
  openStore(dir).close()
  const index = openIndex(dir)
  index.addLink(app, digestOf('1'), 'blob')
  await index.sync()
  const place = { ...app, repository: 'a'.repeat(250) }
  index.transaction(() => {
    for (let round = 0; round < 12_000; round += 1) {
      index.setTag(place, 'a', digestOf('x'), round * 60_000)
    }
  })
  await index.sync()
  const path = join(dir, 'journal')
  t.ok(statSync(path).size > 4 * 2 ** 20)
  const rewritten = index.sync()
  index.addLink(app, digestOf('2'), 'blob')
  await rewritten
  t.ok(statSync(path).size < 2000)
  index.close()
  removeIndex(dir)
  const again = openIndex(dir)
  t.equal(again.links().length, 2)
  t.match(again.tags(), [{ name: 'a', checkedAt: 11_999 * 60_000 }])
  again.close()
})

t.test('a large index is checked while clients are served', async (t) => {
  const site = await startSite(t)
  await pullAll(site, site.cache)
  await site.cache.close()
  const file = join(site.dir, 'index.db')
  const sqlite = new DatabaseSync(file)
  sqlite.exec(`INSERT INTO referrers SELECT 'u', 'r', value, hex(zeroblob(60000)), 0
    FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 200) SELECT value FROM n)`)
  sqlite.close()
  const { size } = statSync(file)
  t.ok(size > 16 * 2 ** 20)
  const fd = openSync(file, 'r+')
  writeSync(fd, Buffer.alloc(20 * 4096, 'x'), 0, undefined, 4096 * Math.floor(size / 8192))
  closeSync(fd)
  const cache = site.open()
  await until(() => site.events.includes('damaged_index'), 'the check')
  await assertOffline(t, site, cache)
})
