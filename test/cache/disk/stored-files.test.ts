// What somebody can do to the files of a cache: wrong bytes are never served, and fetched again.
import {
  chmodSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openStore } from '../../../src/cache/store.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import {
  addBlob,
  app,
  hashAll,
  largest,
  minute,
  readAll,
  startSite,
  storedIn,
  until,
} from '../../helpers/cache.ts'
import { asNobody } from '../../helpers/nobody.ts'
import { chunked, on, status, valveAfter } from '../../helpers/upstream.ts'

const harm: Record<string, (file: string) => void> = {
  truncated: (file) => truncateSync(file, statSync(file).size - 1),
  emptied: (file) => truncateSync(file, 0),
  altered: (file) => writeFileSync(file, Buffer.alloc(statSync(file).size, 'x')),
  longer: (file) => writeFileSync(file, 'x', { flag: 'a' }),
  replaced: (file) => {
    rmSync(file)
    writeFileSync(file, 'another file')
  },
  deleted: (file) => rmSync(file),
}

/** A site that holds one large blob, one small one, and a manifest. */
async function startHolding(t: Test) {
  const site = await startSite(t)
  const { image, cache, dir, counts } = site
  const large = largest(image)[0]
  const small = addBlob(image, Buffer.from('a small blob'))
  const manifest = (await cache.tag(app, 'latest')).content.digest
  for (const digest of [large, small]) await hashAll(await cache.blob(app, digest))
  await until(() => counts.fills === 0 && storedIn(dir).length === 3)
  const { pathOf } = openStore(dir)
  return { ...site, digests: { large, small, manifest }, pathOf }
}

async function pull(
  { blob, manifest }: Awaited<ReturnType<typeof startSite>>['cache'],
  kind: string,
  digest: Digest,
): Promise<string> {
  const found = kind === 'manifest' ? await manifest(app, digest) : await blob(app, digest)
  return hashAll(found)
}

for (const [what, change] of Object.entries(harm)) {
  t.test(`files that were ${what}, found at the next start`, async (t) => {
    const { cache, open, upstream, dir, digests, pathOf, lines } = await startHolding(t)
    await cache.close()
    for (const digest of Object.values(digests)) change(pathOf(digest))
    upstream.fail(status(503))
    const again = open()
    for (const [kind, digest] of Object.entries(digests)) {
      await t.rejects(pull(again, kind, digest), { code: 'UPSTREAM_FAILED' }, 'not wrong bytes')
    }
    const isGone = what === 'deleted'
    t.equal(readdirSync(join(dir, 'quarantine')).length, isGone ? 0 : 3)
    const warned = lines.filter(({ msg }) => /quarantined/.test(String(msg)))
    t.equal(warned.length, isGone ? 0 : 3)
    upstream.fail()
    for (const [kind, digest] of Object.entries(digests)) {
      t.equal(await pull(again, kind, digest), digest)
    }
    await until(() => storedIn(dir).length === 3)
  })

  t.test(`a file that was ${what} while it is open`, async (t) => {
    const { cache, upstream, dir, digests, pathOf } = await startHolding(t)
    const { large } = digests
    t.equal(await pull(cache, 'large', large), large)
    change(pathOf(large))
    const gets = upstream.count(/^GET .*blobs/)
    t.equal(await pull(cache, 'large', large), large)
    t.equal(upstream.count(/^GET .*blobs/), gets + 1)
    await until(() => storedIn(dir).length === 3)
  })
}

t.test('a file that becomes shorter while it is read', async (t) => {
  const { cache, digests, pathOf } = await startHolding(t)
  const { large } = digests
  const found = await cache.blob(app, large)
  if (found.content.kind !== 'large') throw new Error('it is small')
  t.ok((await found.content.read(Buffer.alloc(1000), 0)) > 0)
  truncateSync(pathOf(large), 1000)
  await t.rejects(readAll(found, 1000), { code: 'UNAVAILABLE' })
  t.equal(await pull(cache, 'large', large), large, 'the next pull works')
})

t.test('a file that becomes shorter while it is downloaded', async (t) => {
  const valve = valveAfter(1_500_000)
  const { cache, image, dir } = await startSite(t, {
    faults: [on(/^GET .*blobs/, chunked(), valve.fault)],
    stallTimeout: minute,
  })
  const found = await cache.blob(app, largest(image)[0])
  const [name = ''] = readdirSync(join(dir, 'tmp'))
  const file = join(dir, 'tmp', name)
  await until(() => statSync(file).size >= 1_000_000)
  truncateSync(file, 0)
  await t.rejects(readAll(found), { code: 'UNAVAILABLE' }, 'without a length, 0 would be the end')
  valve.open()
})

t.test('files with another time: hashed once, and kept', async (t) => {
  const { cache, open, site, digests, pathOf, dir } = await startHolding(t)
  await cache.close()
  for (const digest of Object.values(digests)) utimesSync(pathOf(digest), 1, 1)
  site.offline = true
  const again = open()
  for (const [kind, digest] of Object.entries(digests)) {
    t.equal(await pull(again, kind, digest), digest)
  }
  t.same(readdirSync(join(dir, 'quarantine')), [])
})

t.test('a folder that can only be read: hits from it, misses past it', async (t) => {
  const { cache, open, upstream, image, site, digests, dir, lines } = await startHolding(t)
  await cache.close()
  const cold = addBlob(image, Buffer.alloc(3_000_000, 'cold'))
  const folders = readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ parentPath, name }) => join(parentPath, name))
  await asNobody([dir, ...folders], async () => {
    const again = open()
    t.match(await again.problems(), [/cannot be written \(EACCES\)/, /index.*memory only/])
    site.offline = true
    for (const [kind, digest] of Object.entries(digests)) {
      t.equal(await pull(again, kind, digest), digest)
    }
    t.match(await again.tag(app, 'latest'), { content: { digest: digests.manifest } })
    site.offline = false
    const requests = upstream.requests.length
    t.equal(await pull(again, 'blob', cold), cold)
    t.equal(await pull(again, 'blob', cold), cold)
    t.equal(upstream.requests.length, requests + 2, 'not kept')
    for (const manifest of image.manifests.keys()) await again.manifest(app, manifest)
    t.equal(lines.filter(({ level }) => level === 50).length, 1, 'told once')
    await again.close()
  })
  t.equal(storedIn(dir).length, 3)
})

t.test('a file that may not be read', async (t) => {
  const { cache, open, digests, pathOf } = await startHolding(t)
  await cache.close()
  const file = pathOf(digests.large)
  chmodSync(file, 0)
  await asNobody([], async () => {
    await t.rejects(pull(open(), 'large', digests.large), { code: 'UNAVAILABLE' })
  })
  chmodSync(file, 0o644)
  t.equal(await pull(open(), 'large', digests.large), digests.large)
})
