// What the machine can do wrong while something is stored: clients do not notice, the operator does.
import { randomBytes } from 'node:crypto'
import { fstatSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startFill, type FillOptions } from '../../src/cache/fill/fill.ts'
import type { BlobDraft } from '../../src/cache/store.ts'
import type { Found, Large } from '../../src/cache/cache.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { OpenUpstream } from '../../src/oci/origin.ts'
import {
  app,
  hashAll,
  largest,
  minute,
  readAll,
  startSite,
  storedIn,
  until,
  untilNothingTemporary,
} from '../helpers/cache.ts'
import { limitFiles } from '../helpers/limits.ts'
import { createOrigin } from '../helpers/origin.ts'
import { on, startUpstream, valveAfter } from '../helpers/upstream.ts'
import { optionsFor } from '../requirements.ts'

const blobGet = /^GET .*blobs/
const layerBytes = 8_000_000

t.test('the disk takes no more in the middle of a blob', optionsFor('storing'), async (t) => {
  const image = await buildSampleImage({ layerBytes })
  const { cache, upstream, dir, lines, counts } = await startSite(t, { image })
  const [digest, bytes] = largest(image)
  const heal = limitFiles(1_000_000)
  t.teardown(heal)
  const readers = await Promise.all([cache.blob(app, digest), cache.blob(app, digest)])
  for (const body of await Promise.all(readers.map((found) => readAll(found)))) {
    t.ok(body.equals(bytes))
  }
  t.equal(upstream.count(blobGet), 1)
  await until(() => counts.fills === 0)
  t.same(storedIn(dir), [])
  await untilNothingTemporary(dir)
  t.same(await cache.problems(), ['storing a blob failed: EFBIG'])
  t.equal(lines.filter(({ level }) => level === 50).length, 1)
  t.equal(await hashAll(await cache.blob(app, digest)), digest, 'the next one is passed on too')
  t.equal(lines.filter(({ level }) => level === 50).length, 1, 'told once a minute')
  heal()
  await until(() => counts.fills === 0)
  t.equal(await hashAll(await cache.blob(app, digest)), digest)
  await until(() => storedIn(dir).length === 1)
})

t.test('a Range far ahead, of what cannot be stored', optionsFor('storing'), async (t) => {
  const image = await buildSampleImage({ layerBytes })
  const { cache, counts, upstream } = await startSite(t, { image })
  const [digest, bytes] = largest(image)
  const heal = limitFiles(1_000_000)
  t.teardown(heal)
  const found = await cache.blob(app, digest)
  t.ok((await readAll(found, 7_000_000)).equals(bytes.subarray(7_000_000)))
  await until(() => counts.fills === 0)
  t.equal(upstream.count(blobGet), 1)
})

t.test('who comes late, where nothing can be stored', optionsFor('storing'), async (t) => {
  const image = await buildSampleImage({ layerBytes })
  const valve = valveAfter(4_000_000)
  const { cache, counts, upstream } = await startSite(t, {
    image,
    faults: [on(blobGet, valve.fault)],
    stallTimeout: minute,
  })
  const [digest, bytes] = largest(image)
  const heal = limitFiles(1_000_000)
  t.teardown(heal)
  const first = await cache.blob(app, digest)
  const position = await readUntil(first, 3_900_000)
  const late = await cache.blob(app, digest)
  t.equal(upstream.count(blobGet), 2, 'a download of its own')
  valve.open()
  t.ok((await readAll(first, position)).equals(bytes.subarray(position)))
  t.ok((await readAll(late)).equals(bytes))
  await until(() => counts.fills === 0)
})

t.test('who stays behind, where nothing can be stored', optionsFor('storing'), async (t) => {
  const image = await buildSampleImage({ layerBytes })
  const { cache, counts, upstream } = await startSite(t, { image })
  const [digest, bytes] = largest(image)
  const heal = limitFiles(1_000_000)
  t.teardown(heal)
  const first = await cache.blob(app, digest)
  const behind = await cache.blob(app, digest)
  const leaves = await cache.blob(app, digest)
  const body = readAll(first)
  await readUntil(leaves, 1_100_000)
  large(leaves).close()
  t.ok((await readAll(behind, 0, 10_000)).equals(bytes))
  t.ok((await body).equals(bytes))
  await until(() => counts.fills === 0)
  t.equal(upstream.count(blobGet), 1)
})

t.test('nobody reads any more what cannot be stored', optionsFor('storing'), async (t) => {
  const image = await buildSampleImage({ layerBytes })
  const { cache, counts, dir } = await startSite(t, { image })
  const [digest] = largest(image)
  const heal = limitFiles(1_000_000)
  t.teardown(heal)
  const only = await cache.blob(app, digest)
  await readUntil(only, 2_000_000)
  large(only).close()
  await until(() => counts.fills === 0)
  await untilNothingTemporary(dir)
})

t.test('the disk fails when nobody reads any more', optionsFor('storing'), async (t) => {
  const image = await buildSampleImage({ layerBytes })
  const valve = valveAfter(500_000)
  const { cache, counts, dir } = await startSite(t, {
    image,
    faults: [on(blobGet, valve.fault)],
    stallTimeout: minute,
  })
  const heal = limitFiles(1_000_000)
  t.teardown(heal)
  large(await cache.blob(app, largest(image)[0])).close()
  valve.open()
  await until(() => counts.fills === 0)
  await untilNothingTemporary(dir)
})

t.test('a file that takes nothing at all', async (t) => {
  const { content, ended } = await fillWith(t, () => ({
    fd: openSync('/dev/full', 'r+'),
    publish: async () => Promise.reject(new Error('nothing is there')),
    discard: async () => undefined,
  }))
  t.ok((await readAll({ content, source: 'fill' })).length > 1_000_000)
  const { failures, stored } = await ended
  t.match(failures, [{ code: 'ENOSPC' }])
  t.equal(stored, 0)
})

t.test('fsync fails: served, and not kept', async (t) => {
  const file = join(t.testdir(), 'draft')
  let isDiscarded = false
  const { content, ended } = await fillWith(t, () => ({
    fd: openSync(file, 'wx+'),
    publish: async () => Promise.reject(Object.assign(new Error('no'), { code: 'EIO' })),
    discard: async () => void (isDiscarded = true),
  }))
  t.ok((await readAll({ content, source: 'fill' })).length > 1_000_000)
  const { failures, stored } = await ended
  t.match(failures, [{ code: 'EIO' }])
  t.equal(stored, 0)
  t.ok(isDiscarded)
})

/** Bytes that come as fast as they are taken, to where nothing can be stored. */
function fillUnstored({ patience = minute, size = 8_000_000, open = noFile } = {}) {
  const bytes = randomBytes(size)
  let given = 0
  let isPaused = false
  let isAborted = false
  let behind = 0
  const openUpstream: OpenUpstream = (_request, receiver) => {
    const step = (): void => {
      if (isAborted) return
      if (isPaused) return void setTimeout(step, 1)
      const chunk = Buffer.from(bytes.subarray(given, given + 65_536))
      given += chunk.length
      if (chunk.length === 0) return receiver.end()
      receiver.data(chunk)
      setImmediate(step)
    }
    setImmediate(() => {
      receiver.start({ status: 200, headers: { 'content-length': String(size) } })
      step()
    })
    return {
      pause: () => void (isPaused = true),
      resume: () => void (isPaused = false),
      abort: () => void (isAborted = true),
    }
  }
  const nothing = () => undefined
  const fill = startFill({
    openUpstream,
    place: app,
    digest: digestOf(bytes),
    retryDelay: 10,
    patience,
    draft: open,
    onVerified: nothing,
    onStored: nothing,
    onStoringFailed: nothing,
    mayGoOnUnread: () => true,
    onFarRead: () => undefined,
    onLeftBehind: (count) => void (behind += count),
  })
  const follow = (): Found<Large> => ({ content: fill.follow(app), source: 'fill' })
  return { bytes, fill, follow, given: () => given, isPaused: () => isPaused, behind: () => behind }
}

function noFile(): BlobDraft {
  throw new Error('ENOSPC')
}

t.test('where nothing can be stored, the upstream waits for whoever stands still', async (t) => {
  const { follow, given, isPaused, bytes } = fillUnstored()
  const found = follow()
  await until(isPaused)
  await wait(50)
  t.ok(given() < 2 * 2 ** 20, `${given()} bytes were taken`)
  t.ok((await readAll(found)).equals(bytes))
})

t.test('a reader that leaves, or moves on, makes room for the others', async (t) => {
  const leaving = fillUnstored()
  const still = leaving.follow()
  const other = readAll(leaving.follow())
  await until(leaving.isPaused)
  still.content.close()
  t.ok((await other).equals(leaving.bytes))

  const moving = fillUnstored()
  const both = [moving.follow(), moving.follow()]
  const bodies = await Promise.all(both.map(async (found) => readAll(found, 0, 10_000)))
  for (const body of bodies) t.ok(body.equals(moving.bytes))

  const jumping = fillUnstored()
  const far = jumping.follow()
  await until(jumping.isPaused)
  t.ok((await readAll(far, 7_000_000)).equals(jumping.bytes.subarray(7_000_000)))
})

t.test('a reader that holds others up loses its place', async (t) => {
  const { follow, bytes, behind } = fillUnstored({ patience: 50 })
  const slow = follow()
  const told: unknown[] = []
  slow.content.onBroken?.((error) => void told.push(error))
  const position = await readUntil(slow, 100_000)
  const others = await Promise.all([readAll(follow()), readAll(follow())])
  for (const body of others) t.ok(body.equals(bytes))
  t.equal(behind(), 1)
  t.match(told, [{ reason: 'slow_reader' }], 'and is told of it although it does not read')
  await t.rejects(readAll(slow, position), { code: 'UNAVAILABLE', reason: 'slow_reader' })
})

t.test('a reader that is slow alone keeps its place', async (t) => {
  const { follow, bytes, behind, isPaused } = fillUnstored({ patience: 10 })
  const slow = follow()
  await until(isPaused)
  await wait(100)
  t.ok((await readAll(slow)).equals(bytes))
  t.equal(behind(), 0)
})

t.test('the last one leaves what cannot be stored: no download, no descriptor', async () => {
  let fd = -1
  const { follow, fill, isPaused } = fillUnstored({
    open: () => ({
      fd: (fd = openSync('/dev/full', 'r+')),
      publish: async () => Promise.reject(new Error('nothing is there')),
      discard: async () => undefined,
    }),
  })
  const only = follow()
  await until(isPaused)
  only.content.close()
  await fill.ended
  await until(() => !isOpen(fd), 'the descriptor was closed')
})

function isOpen(fd: number): boolean {
  try {
    fstatSync(fd)
    return true
  } catch {
    return false
  }
}

/** A download into a file of the test's own. */
async function fillWith(t: Test, draft: () => BlobDraft) {
  const image = await buildSampleImage({ layerBytes: 2_000_000 })
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const failures: unknown[] = []
  let stored = 0
  const options: FillOptions = {
    openUpstream: createOrigin({ 'registry.test': upstream.url }),
    place: app,
    digest: largest(image)[0],
    retryDelay: 10,
    draft,
    onVerified: () => undefined,
    onStored: () => void (stored += 1),
    onStoringFailed: (error) => void failures.push(error),
    mayGoOnUnread: () => true,
    onFarRead: () => undefined,
    onLeftBehind: () => undefined,
  }
  const fill = startFill(options)
  const content = fill.follow(app)
  return { content, ended: fill.ended.then(() => ({ failures, stored })) }
}

/** Reads and drops; the offset that it got to. */
async function readUntil(found: Found, end: number): Promise<number> {
  const buffer = Buffer.alloc(100_000)
  let position = 0
  while (position < end) position += await large(found).read(buffer, position)
  return position
}

function large({ content }: Found): Large {
  if (content.kind === 'large') return content
  throw new Error('it is small')
}
