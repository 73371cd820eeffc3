// What somebody can do to the files of a cache: wrong bytes are never served, and fetched again.
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { openStore } from '../../../src/cache/store.ts'
import type { Found } from '../../../src/cache/cache.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
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
import { optionsFor } from '../../requirements.ts'
import { chunked, on, status, valveAfter } from '../../helpers/upstream.ts'

const harm: Record<string, (file: string) => void> = {
  'truncated, with the time of before': (file) => {
    execFileSync('touch', ['-r', file, `${file}.reference`])
    truncateSync(file, statSync(file).size - 1)
    execFileSync('touch', ['-r', `${file}.reference`, file])
    rmSync(`${file}.reference`)
  },
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
  for (const { parentPath, name } of readdirSync(dir, { recursive: true, withFileTypes: true })) {
    if (!folders.includes(join(parentPath, name))) chmodSync(join(parentPath, name), 0o644)
  }
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

/** What stands where a file was, and cannot be read as one. */
const unreadable: Record<string, (file: string) => void> = {
  'a folder': (file) => {
    rmSync(file)
    mkdirSync(join(file, 'deep'), { recursive: true })
  },
  'a link': (file) => {
    renameSync(file, `${file}.elsewhere`)
    symlinkSync(`${file}.elsewhere`, file)
  },
  'a pipe': (file) => {
    rmSync(file)
    execFileSync('mkfifo', [file])
  },
  'a file of somebody else': (file) => {
    chownSync(file, 0, 0)
    chmodSync(file, 0o600)
  },
  'a prefix folder of somebody else': (file) => {
    chownSync(dirname(file), 0, 0)
    chmodSync(dirname(file), 0o700)
  },
  'a file as the prefix folder': (file) => {
    rmSync(dirname(file), { recursive: true })
    writeFileSync(dirname(file), '')
  },
}

for (const [what, put] of Object.entries(unreadable)) {
  t.test(`${what} instead of a cached file`, optionsFor('disk'), async (t) => {
    const { cache, open, site, upstream, dir, digests, pathOf, lines, events } =
      await startHolding(t)
    await cache.close()
    const { manifest, ...blobs } = digests
    execFileSync('chown', ['-R', '65534:65534', dir])
    for (const digest of Object.values(digests)) put(pathOf(digest))
    await asNobody([], async () => {
      const again = open()
      t.equal(await pull(again, 'manifest', manifest), manifest)
      for (const digest of Object.values(blobs)) {
        const asked = upstream.requests.length
        const { size } = await again.blobSize(app, digest)
        const body = await readAll(await again.blob(app, digest))
        t.equal(digestOf(body), digest)
        t.equal(size, body.length, 'HEAD and GET agree')
        t.ok(upstream.requests.length > asked, 'fetched again')
      }
      t.same(new Set(events), new Set(['unreadable_file']))
      t.equal(lines.filter(({ msg }) => /cannot be read: set aside/.test(String(msg))).length, 3)
      await until(() => Object.values(digests).every((digest) => isFile(pathOf(digest))))
      site.offline = true
      for (const [kind, digest] of Object.entries(digests)) {
        t.equal(await pull(again, kind, digest), digest, 'stored again')
      }
      await again.close()
    })
  })
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile()
  } catch {
    return false
  }
}

/** As bits rot: neither size nor time tell. */
function rot(file: string, offset: number): void {
  const reference = `${file}.reference`
  execFileSync('touch', ['-r', file, reference])
  const fd = openSync(file, 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, offset)
  writeSync(fd, Buffer.from([(byte[0] ?? 0) ^ 1]), 0, 1, offset)
  closeSync(fd)
  execFileSync('touch', ['-r', reference, file])
  rmSync(reference)
}

async function refused(t: Test, found: Found, size: number, from = 0): Promise<void> {
  let received = from
  const reading = readAll(found, from, undefined, (bytes) => (received += bytes))
  await t.rejects(reading, { code: 'UNAVAILABLE', reason: 'cache_damaged' })
  t.ok(received < size, `${received} of ${size} bytes`)
}

t.test('bits that rot are found at the first whole read after a start', async (t) => {
  const { cache, open, digests, pathOf, events, dir } = await startHolding(t)
  const { large } = digests
  const { size } = statSync(pathOf(large))
  await cache.close()
  rot(pathOf(large), 1_000_000)
  const again = open()
  await refused(t, await again.blob(app, large), size)
  await until(() => readdirSync(join(dir, 'quarantine')).length === 1)
  t.same(events, ['wrong_file'])
  t.equal(await pull(again, 'large', large), large, 'fetched again')
})

t.test('and again after a time, but not at each read', async (t) => {
  const { cache, clock, digests, pathOf, dir } = await startHolding(t)
  const { large } = digests
  const { size } = statSync(pathOf(large))
  rot(pathOf(large), 1_000_000)
  t.not(await pull(cache, 'large', large), large, 'it was hashed as it came')
  clock.time += 31 * 24 * 60 * minute
  await refused(t, await cache.blob(app, large), size)
  await until(() => readdirSync(join(dir, 'quarantine')).length === 1)
  t.equal(await pull(cache, 'large', large), large)
})

t.test('each time, where that is wanted', async (t) => {
  const { cache, open, digests, pathOf } = await startHolding(t)
  const { large } = digests
  await cache.close()
  const again = open({ verifyEvery: 0 })
  t.equal(await pull(again, 'large', large), large)
  rot(pathOf(large), 1_000_000)
  await refused(t, await again.blob(app, large), statSync(pathOf(large)).size)
})

t.test('bits that change ahead of a reader', async (t) => {
  const { cache, open, digests, pathOf } = await startHolding(t)
  const { large } = digests
  await cache.close()
  const found = await open().blob(app, large)
  if (found.content.kind !== 'large') throw new Error('it is small')
  const read = await found.content.read(Buffer.alloc(1000), 0)
  rot(pathOf(large), 1_900_000)
  await refused(t, found, statSync(pathOf(large)).size, read)
})

t.test('who reads parts only: the whole is hashed behind them', async (t) => {
  const { cache, open, digests, pathOf, dir } = await startHolding(t)
  const { large } = digests
  await cache.close()
  rot(pathOf(large), 100)
  const again = open()
  await readAll(await again.blob(app, large), 1_900_000)
  await until(() => readdirSync(join(dir, 'quarantine')).length === 1)
  t.equal(await pull(again, 'large', large), large)
})

t.test('a file that was deleted gives its room back', optionsFor('storing'), async (t) => {
  const { cache, digests, pathOf } = await startHolding(t)
  t.equal(await pull(cache, 'large', digests.large), digests.large)
  const isOpen = () =>
    readdirSync('/proc/self/fd').some((fd) => linkOf(fd).startsWith(pathOf(digests.large)))
  t.ok(isOpen())
  rmSync(pathOf(digests.large))
  await until(() => !isOpen(), 'the descriptor was closed')
})

function linkOf(fd: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`)
  } catch {
    return ''
  }
}

t.test('a file that is gone: HEAD and GET say the same, and the index forgets it', async (t) => {
  const { cache, dir, image, site } = await startSite(t)
  const [digest, bytes] = largest(image)
  await hashAll(await cache.blob(app, digest))
  await until(() => storedIn(dir).includes(digest))
  await cache.tag(app, 'latest')
  site.offline = true
  t.match(await cache.blobSize(app, digest), { size: bytes.length })
  rmSync(join(dir, 'blobs/sha256', digest.slice(7, 9), digest.slice(7)))
  await t.rejects(async () => cache.blob(app, digest), { code: 'UNAVAILABLE' })
  await t.rejects(async () => cache.blobSize(app, digest), { code: 'UNAVAILABLE' })
  const index = openIndex(dir)
  t.teardown(() => index.close())
  t.equal(index.content(digest), undefined)
})
