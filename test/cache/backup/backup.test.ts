// A copy of a cache folder: of a running gateway, usable at once, and whole.
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { backUpCache } from '../../../src/cache/backup/backup.ts'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import { inspectCache } from '../../helpers/cache-folder.ts'
import { app, hashAll, startSite, storedIn, until } from '../../helpers/cache.ts'
import { runCommand } from '../../helpers/command.ts'
import { problemsOf } from '../../helpers/problems.ts'

const config = 'listen: { insecureHttp: true }\ncache: { dir: cache }\n'

function folder(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'portcullis-backup-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

type Site = Awaited<ReturnType<typeof startSite>>

/** A machine that is busy may hold an answer up for longer than an upstream is waited for otherwise, ms. */
const stallTimeout = 30_000

/** Everything that a client pulls of the image. */
async function pullAll(cache: Site['cache'], digests: Digest[]) {
  await cache.tag(app, 'latest')
  for (const digest of digests) await hashAll(await cache.blob(app, digest))
}

/** Nobody waits for what is stored; what comes after a copy is not in it. */
async function allStored({ dir, image }: Site): Promise<void> {
  const count = image.blobs.size + 1
  const index = openIndex(dir)
  await until(() => index.contents().length === count, 'storing')
  index.close()
}

t.test('a running cache: the copy serves all of it without an upstream', async (t) => {
  const site = await startSite(t, { stallTimeout })
  const digests = [...site.image.blobs.keys()]
  await pullAll(site.cache, digests)
  await allStored(site)
  const target = join(folder(t), 'copy')
  const summary = await backUpCache({ dir: site.dir, target })
  t.equal(summary.blobs, storedIn(target).length)
  t.equal(statSync(target).mode & 0o777, 0o700)
  await site.cache.close()

  await site.upstream.close()
  site.site.offline = true
  const copy = site.open({ dir: target })
  await pullAll(copy, digests)
  await copy.close()
  t.same(inspectCache(target), inspectCache(site.dir))
  t.ok(existsSync(join(target, 'journal')), 'and can be made anew')
  rmSync(join(target, 'index.db'))
  const again = site.open({ dir: target })
  await pullAll(again, digests)
  await again.close()
})

t.test('while images are pulled and taken out', async (t) => {
  const site = await startSite(t, { stallTimeout })
  const digests = [...site.image.blobs.keys()]
  const busy = new AbortController()
  const work = (async () => {
    while (!busy.signal.aborted) {
      await pullAll(site.cache, digests)
      await setTimeout(5)
      await site.cache.inventory.remove({ ...app, reference: 'latest' }, { force: true })
    }
  })()
  try {
    for (let round = 0; round < 3; round += 1) {
      const target = join(folder(t), 'copy')
      await backUpCache({ dir: site.dir, target })
      const stored = storedIn(target)
      const index = openIndex(target)
      t.same(
        index.contents().filter(({ digest }) => !stored.includes(digest)),
        [],
        'the index knows of nothing that is not there',
      )
      index.close()
    }
  } finally {
    busy.abort()
    await work
  }
})

t.test(
  'to another file system: copies with their times',
  { skip: !existsSync('/dev/shm') },
  async (t) => {
    const site = await startSite(t, { stallTimeout })
    await pullAll(site.cache, [...site.image.blobs.keys()])
    await site.cache.close()
    const target = mkdtempSync('/dev/shm/portcullis-backup-')
    t.teardown(() => rmSync(target, { recursive: true }))
    const summary = await backUpCache({ dir: site.dir, target })
    t.equal(summary.linked, 0)
    t.same(inspectCache(target).stored, inspectCache(site.dir).stored)
  },
)

t.test('what cannot be: exit code 2, and nothing is made', async (t) => {
  const dir = folder(t)
  const full = join(dir, 'full')
  mkdirSync(full)
  writeFileSync(join(full, 'file'), '')
  const told = async (dir: string, target: string) =>
    (await problemsOf(backUpCache({ dir, target }))).map(
      ({ path, message }) => `${path}: ${message}`,
    )
  t.match(await told(join(dir, 'none'), join(dir, 'copy')), [/^cache\.dir: .*holds no cache/])
  const site = await startSite(t, { stallTimeout })
  t.match(await told(site.dir, full), [/is not empty/])
  t.match(await told(site.dir, join(site.dir, 'copy')), [/lies in the cache folder itself/])
  t.match(await told(site.dir, join(full, 'file')), [/cannot be used \(ENOTDIR\)/])
  t.notOk(existsSync(join(dir, 'copy')))
  writeFileSync(join(dir, 'gateway.yaml'), config)
  const run = (...args: string[]) =>
    runCommand(['backup', ...args], { cwd: dir, env: { PORTCULLIS_CONFIG: 'gateway.yaml' } })
  t.match(await run(), { status: 2, stderr: /^DIR: must be one folder/ })
  t.match(await run('copy'), { status: 2, stderr: /^cache\.dir: / })
  cpSync(site.dir, join(dir, 'cache'), { recursive: true })
  t.match(await run('copy'), { status: 0, stdout: /^copy: \d+ blobs/ })
  t.match(await run('copy'), { status: 2, stderr: /^copy: is not empty/ })
})

// test/cache/kept/format-1 was written by version 0.1.0.
t.test('a folder of an older version is brought forward, a newer one refused', async (t) => {
  const kept = join(import.meta.dirname, '../kept/format-1')
  const dir = join(folder(t), 'cache')
  cpSync(kept, dir, { recursive: true })
  const before = storedIn(dir)
  const site = await startSite(t, { stallTimeout })
  site.site.offline = true
  const cache = site.open({ dir })
  const place = { upstream: 'registry.test', repository: 'app' }
  const { content: root } = await cache.tag(place, 'latest')
  const { manifests } = JSON.parse(root.bytes.toString()) as { manifests: { digest: Digest }[] }
  t.ok(manifests.length > 1)
  for (const { digest } of manifests) {
    const { content } = await cache.manifest(place, digest)
    const { config, layers } = JSON.parse(content.bytes.toString()) as {
      config: { digest: Digest }
      layers: { digest: Digest }[]
    }
    for (const blob of [config, ...layers]) {
      t.equal(await hashAll(await cache.blob(place, blob.digest)), blob.digest)
    }
  }
  t.equal((await cache.referrers(place, root.digest)).entries.length, 1)
  t.match(cache.inventory.pins(), [{ ...place, owner: 'operator' }], 'pins stay')
  await cache.close()
  t.same(storedIn(dir), before)
  t.ok(storedIn(dir).length > 10)

  writeFileSync(join(dir, 'format'), '2\n')
  t.throws(() => site.open({ dir }), /written by a newer version \(format 2\): update/)

  const older = join(folder(t), 'cache')
  cpSync(kept, older, { recursive: true })
  const target = join(folder(t), 'copy')
  await backUpCache({ dir: older, target })
  t.same(storedIn(target), before)
  t.equal(Object.keys(inspectCache(target).tags).length, 1)
})
