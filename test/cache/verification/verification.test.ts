// All that is stored is hashed, at a rate, and what is wrong is named and fetched again.
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
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
import type { Verification } from '../../../src/cache/verification/verification.ts'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { hexOf, type Digest } from '../../../src/oci/digest.ts'
import {
  addBlob,
  app,
  hashAll,
  startSite,
  storedIn,
  until,
  type SiteOptions,
} from '../../helpers/cache.ts'

const most = 2 ** 40

/** A cache that holds `count` blobs of an upstream, large and small. */
async function startHolding(t: Test, count: number, options: SiteOptions = {}) {
  const image = await buildSampleImage({ layerBytes: 1000 })
  const digests = Array.from({ length: count }, (_, index) =>
    addBlob(image, Buffer.alloc(index % 3 === 0 ? 300_000 + index : 1000 + index, index)),
  )
  const site = await startSite(t, { image, ...options })
  for (const digest of digests) await hashAll(await site.cache.blob(app, digest))
  // A file has its name a moment before the index has it.
  await until(() => site.counts.fills === 0 && storedIn(site.dir).length >= count)
  const pathOf = (digest: Digest) =>
    join(site.dir, 'blobs/sha256', hexOf(digest).slice(0, 2), hexOf(digest))
  return { ...site, digests, pathOf }
}

async function ended({ state }: Verification) {
  await until(() => !state().isRunning, 'the end of the verification')
  return state()
}

function alter(path: string): void {
  const { atime, mtime } = statSync(path)
  const fd = openSync(path, 'r+')
  writeSync(fd, 'altered', 100)
  closeSync(fd)
  utimesSync(path, atime, mtime)
}

const damages: ((path: string) => void)[] = [
  (path) => truncateSync(path, 10),
  alter,
  (path) => appendFileSync(path, 'more'),
  (path) => rmSync(path),
  (path) => {
    rmSync(path)
    mkdirSync(join(path, 'folder'), { recursive: true })
  },
  (path) => {
    rmSync(path)
    symlinkSync(path, path)
  },
]
const flaws = ['wrong', 'wrong', 'wrong', 'missing', 'unreadable', 'unreadable']

t.test('a cache that is right', async (t) => {
  const { cache, digests } = await startHolding(t, 6)
  t.same(cache.verification.state(), {
    isRunning: false,
    share: 0,
    files: 0,
    bytes: 0,
    flaws: 0,
    findings: [],
    bytesOfAll: 0,
  })
  cache.verification.begin(most)
  t.equal(cache.verification.state().isRunning, true)
  const { began, ended: end, bytes, ...rest } = await ended(cache.verification)
  t.match({ began, end }, { began: Number, end: Number })
  t.ok(bytes > 600_000)
  t.same(rest, {
    isRunning: false,
    share: 1,
    files: digests.length,
    flaws: 0,
    findings: [],
    bytesOfAll: bytes,
  })
})

t.test('files that were damaged are named, and every later pull is right', async (t) => {
  const { dir, cache, digests, pathOf, lines, events } = await startHolding(t, 60)
  const damaged = digests.slice(0, 50)
  for (const [index, digest] of damaged.entries()) damages[index % 6]?.(pathOf(digest))
  cache.verification.begin(most)
  const state = await ended(cache.verification)
  t.equal(state.flaws, 50)
  const found = new Map(state.findings.map(({ name, flaw }) => [name, flaw]))
  for (const [index, digest] of damaged.entries()) t.equal(found.get(digest), flaws[index % 6])
  const told = new Set(lines.filter(({ level }) => level === 40).map(({ digest }) => digest))
  t.same(
    damaged.filter((digest) => !told.has(digest)),
    [],
    'and in the log',
  )
  t.equal(events.filter((event) => event === 'missing_file').length, 8)
  t.equal(readdirSync(join(dir, 'quarantine')).length, 42)
  t.equal(storedIn(dir).length, 10, 'what is left is right')
  for (const digest of digests) t.equal(await hashAll(await cache.blob(app, digest)), digest)
  await until(() => storedIn(dir).length === 60)
  cache.verification.begin(most)
  t.match(await ended(cache.verification), { flaws: 0, files: 60 })
})

t.test('a folder that cannot be read', async (t) => {
  const { dir, cache, digests, pathOf } = await startHolding(t, 3)
  const [lost = digests[0]] = digests
  if (lost === undefined) throw new Error('nothing is stored')
  const folder = dirname(pathOf(lost))
  rmSync(folder, { recursive: true })
  writeFileSync(folder, 'no folder')
  const used = new Set(readdirSync(join(dir, 'blobs/sha256')))
  const free = [...Array(256).keys()]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .find((name) => !used.has(name))
  writeFileSync(join(dir, 'blobs/sha256', String(free)), '')
  cache.verification.begin(most)
  const { findings } = await ended(cache.verification)
  t.match(
    findings.find(({ name }) => name === lost),
    { flaw: 'unreadable' },
  )
  t.match(
    findings.find(({ name }) => name === `sha256:${free}`),
    { flaw: 'unreadable', reason: 'ENOTDIR' },
  )
  t.equal(await hashAll(await cache.blob(app, lost)), lost)
})

t.test('it reads no faster than it may', async (t) => {
  const { cache } = await startHolding(t, 6)
  const began = performance.now()
  cache.verification.begin(2_000_000)
  const { bytes } = await ended(cache.verification)
  // The last piece need not be waited for.
  t.ok(performance.now() - began >= ((bytes - 256 * 1024) / 2_000_000) * 1000 - 20)
})

t.test('a pass goes on where the process before has stopped', async (t) => {
  const { dir, cache, open, digests } = await startHolding(t, 12)
  cache.verification.begin(1_500_000)
  await until(() => cache.verification.state().files >= 4)
  await cache.close()
  const { after } = JSON.parse(readFileSync(join(dir, 'verified'), 'utf8')) as { after: string }
  t.match(after, /^sha\d{3}:[0-9a-f]{2}$/)
  const [left, done] = [true, false].map((isLeft) =>
    digests.filter((digest) => digest.slice(7, 9) > after.slice(7) === isLeft),
  )
  t.ok((left?.length ?? 0) > 0 && (done?.length ?? 0) > 0)

  const again = open()
  again.verification.schedule({ every: 1e12, rate: most, lookEvery: 10 })
  await until(() => again.verification.state().isRunning, 'the rest of it')
  t.equal((await ended(again.verification)).files, left?.length)
  t.equal(again.verification.state().share, 1)
})

t.test('it begins again when the time has come', async (t) => {
  const { cache, clock, lines } = await startHolding(t, 3)
  const passes = () => lines.filter(({ msg }) => msg === 'the cache is verified').length
  cache.verification.schedule({ every: 86_400_000, rate: most, lookEvery: 10 })
  await until(() => passes() === 1, 'the first pass')
  const { bytes } = await ended(cache.verification)
  clock.time += 86_399_000
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
  t.equal(passes(), 1, 'not before')
  clock.time += 1000
  await until(() => passes() === 2, 'the second pass')
  t.equal((await ended(cache.verification)).bytesOfAll, 2 * bytes)
})
