// Run by full-disk.test.ts, with a folder on a disk of 3 MiB as its argument.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { addBlob, app, hashAll, largest, startSite, storedIn, until } from '../helpers/cache.ts'

const disk = process.argv[2] ?? ''

t.test('a disk that is full, and has room again', async (t) => {
  const { cache, image, upstream, counts, open, site } = await startSite(t, { dir: disk })
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
  t.match(
    await cache.problems(),
    [/^(storing a blob failed: ENOSPC|writing the index of the cache failed: \w+)$/],
    'what could not be kept is told',
  )

  const ballast = join(disk, 'ballast')
  t.throws(() => writeFileSync(ballast, Buffer.alloc(4_000_000)), { code: 'ENOSPC' })
  t.match(await cache.problems(), [
    /cannot be written \(ENOSPC\)/,
    /failed: (ENOSPC|ERR_SQLITE_ERROR)$/,
  ])
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
