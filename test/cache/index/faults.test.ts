// The index under a running cache: changed, locked or damaged by somebody else.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, statSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { openStore } from '../../../src/cache/store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import {
  app,
  hashAll,
  largest,
  listed,
  other,
  startSite,
  storedIn,
  until,
} from '../../helpers/cache.ts'

t.test('another process imports: links and tags are taken into use', async (t) => {
  const { cache, dir, image, site, counts } = await startSite(t)
  const { content: before } = await cache.tag(app, 'latest')
  const [digest] = largest(image)
  await hashAll(await cache.blob(app, digest))
  await until(() => counts.fills === 0)
  site.offline = true
  await t.rejects(async () => cache.blob(other, digest), { code: 'UNAVAILABLE' })

  const bytes = Buffer.from(JSON.stringify({ mediaType: mediaTypes.ociIndex, manifests: [] }))
  const imported = digestOf(bytes)
  const writer = await openStore(dir).create(imported)
  await writer.append(bytes)
  const stored = await writer.commit()
  await inAnotherProcess(
    `index.transaction(() => {
      index.addContent(${JSON.stringify(imported)}, ${JSON.stringify({ mediaType: mediaTypes.ociIndex, ...stored })})
      index.addLink(${JSON.stringify(app)}, ${JSON.stringify(imported)}, 'manifest')
      index.setTag(${JSON.stringify(app)}, 'latest', ${JSON.stringify(imported)})
      index.addLink(${JSON.stringify(other)}, ${JSON.stringify(digest)}, 'blob')
    })`,
    dir,
  )
  let found = await cache.tag(app, 'latest')
  for (const end = Date.now() + 10_000; found.content.digest === before.digest;) {
    if (Date.now() > end) break
    await new Promise((resolve) => void setTimeout(resolve, 20))
    found = await cache.tag(app, 'latest')
  }
  t.equal(found.content.digest, imported)
  t.equal(await hashAll(await cache.blob(other, digest)), digest)
})

t.test(
  'another process keeps it locked: clients are served, and it is written later',
  async (t) => {
    const { cache, dir, image } = await startSite(t)
    const lock = new DatabaseSync(join(dir, 'index.db'))
    t.teardown(() => lock.close())
    lock.exec('BEGIN IMMEDIATE')
    const { content } = await cache.tag(app, 'latest')
    const [digest] = largest(image)
    t.equal(await hashAll(await cache.blob(app, digest)), digest)
    t.equal((await cache.tag(app, 'latest')).source, 'memory')
    t.match(await cache.problems(), [/^writing the index of the cache failed/])
    lock.exec('COMMIT')
    const index = openIndex(dir)
    t.teardown(() => index.close())
    await until(() => index.tag(app, 'latest') !== undefined && index.links().length === 2)
    t.equal(index.tag(app, 'latest')?.digest, content.digest)
    await until(
      () => index.content(digest) !== undefined && index.content(content.digest) !== undefined,
    )
    t.ok(index.childrenOf(content.digest).length > 0)
  },
)

t.test('it ends while the index is locked: content that is stored stays', async (t) => {
  const { cache, dir } = await startSite(t)
  const lock = new DatabaseSync(join(dir, 'index.db'))
  t.teardown(() => lock.close())
  lock.exec('BEGIN IMMEDIATE')
  await cache.tag(app, 'latest')
  await cache.close()
  lock.exec('COMMIT')
  t.equal(storedIn(dir).length, 1)
})

t.test('it is damaged while it is open: what is known is served, the rest is asked', async (t) => {
  const { cache, dir, image, open, site, lines } = await startSite(t)
  const { content } = await cache.tag(app, 'latest')
  const [digest] = largest(image)
  await hashAll(await cache.blob(app, digest))
  await until(() => storedIn(dir).length === 2)
  // What another connection writes makes SQLite forget the pages that it has in memory.
  const second = new DatabaseSync(join(dir, 'index.db'))
  t.teardown(() => second.close())
  second.exec("INSERT INTO pin VALUES ('x', 'y', 'z', 'operator')")
  damage(dir)
  t.equal((await cache.tag(app, 'latest')).content, content)
  t.equal(await hashAll(await cache.blob(app, digest)), digest)
  for (const manifest of image.manifests.keys()) await cache.manifest(app, manifest)
  await cache.tag(app, '1.0')
  t.match((await cache.tags(app)).entries, ['1.0', 'latest'])
  await t.resolves(cache.referrers(app, content.digest))
  await t.rejects(async () => cache.blob(other, digest), { code: 'BLOB_UNKNOWN' })
  t.type(await listed(cache), Array)
  t.match(await cache.problems(), [/the index of the cache failed/])
  t.ok(lines.some(({ msg }) => /the index of the cache failed/.test(String(msg))))
  await cache.close()
  const again = open()
  t.equal(await hashAll(await again.blob(app, digest)), digest)
  site.offline = true
  t.equal(await hashAll(await again.blob(app, digest)), digest, 'linked again')
})

/** Every page of it, behind SQLite's back; but not what SQLite has mapped into memory. */
function damage(dir: string): void {
  for (const name of ['index.db', 'index.db-wal']) {
    const file = join(dir, name)
    const fd = openSync(file, 'r+')
    writeSync(fd, Buffer.alloc(statSync(file).size, 'x'), 0)
    closeSync(fd)
  }
}

async function inAnotherProcess(script: string, dir: string): Promise<void> {
  const module = JSON.stringify(
    join(import.meta.dirname, '../../../src/cache/index/content-index.ts'),
  )
  const child = spawn(
    process.execPath,
    [
      '--input-type=module',
      '--eval',
      `import { openIndex } from ${module}
       const index = openIndex(${JSON.stringify(dir)})
       ${script}
       index.close()`,
    ],
    { stdio: 'inherit' },
  )
  const [code] = await once(child, 'exit')
  if (code !== 0) throw new Error(`the other process ended with ${code}`)
}
