// Run by full-disk.test.ts, with a folder on a disk of 3 MiB as its argument.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { addBlob, app, hashAll, largest, startSite, storedIn, until } from '../helpers/cache.ts'

const disk = process.argv[2] ?? ''

t.test('a disk that is full, and has room again', async (t) => {
  const { cache, image, upstream, counts, causes, open, site } = await startSite(t, { dir: disk })
  const first = addBlob(image, Buffer.alloc(400_000, 'first'))
  t.equal(await hashAll(await cache.blob(app, first)), first)
  await until(() => counts.fills === 0)
  t.same(storedIn(disk), [first])

  const [large] = largest(image)
  const larger = addBlob(image, Buffer.alloc(9_000_000, 'larger'))
  const bodies = await Promise.all(
    [large, larger, large].map(async (digest) => hashAll(await cache.blob(app, digest))),
  )
  t.same(bodies, [large, larger, large], 'streamed all the same')
  await until(() => counts.fills === 0)
  t.match((await cache.problems())[0], /^storing a blob failed: ENOSPC$/, 'told')
  t.match(await cache.condition(), { degraded: { folder: false, index: false, storing: true } })
  t.same(new Set(causes), new Set(['ENOSPC']), 'also what the index met')

  const ballast = join(disk, 'ballast')
  t.throws(() => writeFileSync(ballast, Buffer.alloc(4_000_000)), { code: 'ENOSPC' })
  const [folder, ...failed] = await cache.problems()
  t.match(folder, /cannot be written \(ENOSPC\)/)
  t.ok(failed.includes('storing a blob failed: ENOSPC'))
  t.match(await cache.condition(), { freeBytes: 0, degraded: { folder: true } })
  const { content } = await cache.tag(app, 'latest')
  for (const digest of image.manifests.keys()) await cache.manifest(app, digest)
  for (const digest of image.blobs.keys()) {
    t.equal(await hashAll(await cache.blob(app, digest)), digest)
  }
  await until(() => counts.fills === 0)
  storedIn(disk)
  t.match(await cache.tag(app, 'latest'), { content, source: 'memory' })

  rmSync(ballast)
  await until(() => counts.fills === 0)
  t.equal(await hashAll(await cache.blob(app, large)), large)
  await until(() => storedIn(disk).includes(large))
  await cache.close()
  site.offline = true
  const requests = upstream.requests.length
  const again = open()
  t.equal(await hashAll(await again.blob(app, large)), large, 'links are on disk, too')
  t.match(await again.tag(app, 'latest'), { content: { digest: content.digest } }, 'and tags')
  t.equal(upstream.requests.length, requests)
})
