// A cache of its own for a test, in front of an upstream that misbehaves as told.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pino } from 'pino'
import type { Test } from 'tap'
import type { GatewayError } from '../../src/errors.ts'
import type { Cache, Found } from '../../src/cache/cache.ts'
import { openCache, type CacheOptions } from '../../src/cache/open-cache.ts'
import { buildSampleImage, type SampleContent } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import type { Place } from '../../src/oci/place.ts'
import { createOrigin } from './origin.ts'
import { startUpstream, type Fault } from './upstream.ts'

export const app: Place = { upstream: 'registry.test', repository: 'app' }
export const other: Place = { upstream: 'registry.test', repository: 'other' }
export const minute = 60_000

export interface SiteOptions extends Partial<CacheOptions> {
  /** Of repository `app`. */
  image?: SampleContent
  repositories?: Record<string, SampleContent>
  faults?: Fault[]
  /** See `createOrigin`, ms. */
  stallTimeout?: number
}

/** An upstream, and what opens caches in front of it; all closed with the test. */
export async function startSite(t: Test, options: SiteOptions = {}) {
  const {
    image = await buildSampleImage({ layerBytes: 2_000_000 }),
    faults = [],
    ...others
  } = options
  const { repositories = { app: image }, stallTimeout, ...cacheOptions } = others
  const upstream = await startUpstream(t, { repositories, faults })
  const clock = { time: Date.now() }
  const site = { offline: false }
  const events: string[] = []
  const causes: string[] = []
  const requests: string[] = []
  const counts = { hit: 0, miss: 0, coalesced: 0, fills: 0 }
  const evictions = { images: 0, bytes: 0 }
  const uncached: string[] = []
  const lines: Record<string, unknown>[] = []
  const reports: [upstream: string, error: GatewayError][] = []
  const log = pino(
    { level: 'info' },
    { write: (line: string) => void lines.push(JSON.parse(line)) },
  )
  const dir = t.testdir()
  const open = (changes: Partial<CacheOptions> = {}) => {
    const cache = openCache({
      dir,
      // Whatever the disk of the machine has: limits are a matter of their own tests.
      maxBytes: 2 ** 50,
      minFree: -(2 ** 50),
      memoryBytes: 16 * 2 ** 20,
      openUpstream: createOrigin({ 'registry.test': upstream.url }, stallTimeout),
      freshnessOf: () => ({ tagTtl: 5 * minute, staleIfError: 60 * minute }),
      offline: () => site.offline,
      report: (upstream, error) => void reports.push([upstream, error]),
      log,
      metrics: {
        event: (event) => void events.push(event),
        lookup: (result) => void (counts[result] += 1),
        coalesced: () => void (counts.coalesced += 1),
        fills: (change) => void (counts.fills += change),
        storageFailure: (cause) => void causes.push(cause),
        sharedRequest: (part, result) => void requests.push(`${part} ${result}`),
        evicted(bytes) {
          evictions.images += 1
          evictions.bytes += bytes
        },
        uncached: (cause) => void uncached.push(cause),
      },
      now: () => clock.time,
      retryDelay: 10,
      ...cacheOptions,
      ...changes,
    })
    let isClosed = false
    const close = async () => {
      if (!isClosed) await cache.close()
      isClosed = true
    }
    t.teardown(close)
    return { ...cache, close }
  }
  const told = { counts, evictions, uncached, events, causes, requests, lines, reports }
  return { dir, image, upstream, clock, site, ...told, open, cache: open() }
}

/** The blob with the most bytes. */
export function largest({ blobs }: SampleContent): [Digest, Buffer] {
  const [found] = [...blobs].sort(([, a], [, b]) => b.length - a.length)
  if (found === undefined) throw new Error('the image has no blobs')
  return found
}

/** Adds a blob of its own to the repository. */
export function addBlob(content: SampleContent, bytes: Buffer): Digest {
  const digest = digestOf(bytes)
  content.blobs.set(digest, bytes)
  return digest
}

/** Every repository that it holds something of, behind `after` where it is given. */
export async function listed({ repositories }: Cache, after?: string): Promise<Place[]> {
  const found: Place[] = []
  for await (const places of repositories(after)) found.push(...places)
  return found
}

/** Reads all of it, closes it. */
export async function readAll(
  { content }: Found,
  from = 0,
  chunkBytes = 256 * 1024,
  onRead: (bytes: number) => void = () => undefined,
): Promise<Buffer> {
  if (content.kind === 'small') return content.bytes.subarray(from)
  const chunks: Buffer[] = []
  const buffer = Buffer.alloc(chunkBytes)
  try {
    for (let position = from; ;) {
      const bytes = await content.read(buffer, position)
      if (bytes === 0) return Buffer.concat(chunks)
      onRead(bytes)
      chunks.push(Buffer.from(buffer.subarray(0, bytes)))
      position += bytes
    }
  } finally {
    content.close()
  }
}

/** The hash of all of it, in constant memory. */
export async function hashAll({ content }: Found): Promise<string> {
  const hash = createHash('sha256')
  if (content.kind === 'small') return `sha256:${hash.update(content.bytes).digest('hex')}`
  const buffer = Buffer.alloc(256 * 1024)
  try {
    for (let position = 0; ;) {
      const bytes = await content.read(buffer, position)
      if (bytes === 0) return `sha256:${hash.digest('hex')}`
      hash.update(buffer.subarray(0, bytes))
      position += bytes
    }
  } finally {
    content.close()
  }
}

/** Every file below `blobs/`, checked against its name; the digests. */
export function storedIn(dir: string): string[] {
  const files = readdirSync(join(dir, 'blobs'), { recursive: true, withFileTypes: true })
  return files
    .filter((file) => file.isFile())
    .map((file) => {
      const [algorithm = ''] = file.parentPath.slice(join(dir, 'blobs').length + 1).split('/')
      const hex = createHash(algorithm)
        .update(readFileSync(join(file.parentPath, file.name)))
        .digest('hex')
      if (hex !== file.name) throw new Error(`${file.name} hashes to ${hex}`)
      return `${algorithm}:${hex}`
    })
    .sort()
}

export async function until(condition: () => boolean, what = 'the condition'): Promise<void> {
  const end = Date.now() + 20_000
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what} did not come true`)
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
}

/** Resolves once nothing is left of what was being written: the index may write its journal at the moment. */
export async function untilNothingTemporary(dir: string): Promise<void> {
  await until(() => readdirSync(join(dir, 'tmp')).length === 0, 'nothing in tmp')
}
