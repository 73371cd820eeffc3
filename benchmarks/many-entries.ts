// What does a cache with very many entries cost? `node benchmarks/many-entries.ts [ENTRIES [EVERY]]`: start, a warm
// pull, and the index made anew from journal and files; eviction.ts has the cost of making room. Of 1,000,000
// entries, unless told, only those of one image in EVERY (10) have files: 2 GiB of disk, and some minutes.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout } from 'node:timers/promises'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { pino } from 'pino'
import { uncounted } from '../src/cache/context.ts'
import { openIndex } from '../src/cache/index/content-index.ts'
import { lacksFacts } from '../src/cache/index/database.ts'
import { openCache, type KeptCache } from '../src/cache/open-cache.ts'
import { openStore } from '../src/cache/store.ts'
import { digestOf, type Digest } from '../src/oci/digest.ts'
import { mediaTypes } from '../src/oci/media-type.ts'
import { fillInBulk } from './lab/bulk-index.ts'

const place = { upstream: 'registry.test', repository: 'app' }
const layersOfImage = 9
const blobType = 'application/octet-stream'

/** Layers that ten images share, and its own: the same for a number every time. */
function imageOf(number: number) {
  const blobs = Array.from({ length: layersOfImage }, (_, part) => {
    const owner = part < 3 ? `family ${Math.floor(number / 10)}` : `image ${number}`
    const bytes = Buffer.from(`${owner} ${part}`)
    return { digest: digestOf(bytes), bytes }
  })
  const [config, ...layers] = blobs.map(({ digest, bytes }) => ({
    mediaType: blobType,
    digest,
    size: bytes.length,
  }))
  const mediaType = mediaTypes.ociManifest
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers }))
  return { digest: digestOf(bytes), bytes, blobs }
}

/** Index and journal of so many contents, and files of one image in `every`; the number of images. */
function fill(dir: string, entries: number, every: number): number {
  const store = openStore(dir)
  const now = Date.now()
  let image = 0
  fillInBulk(dir, ({ content, edge, link, tag }) => {
    const put = (digest: Digest, bytes: Buffer, type: string, at: number): number => {
      let mtime = now
      if (image % every === 0) {
        const path = store.pathOf(digest)
        mkdirSync(dirname(path), { recursive: true })
        writeFileSync(path, bytes)
        mtime = statSync(path).mtimeMs
      }
      return Number(content.run(digest, type, bytes.length, mtime, at, at).changes)
    }
    for (let written = 0; written < entries; image += 1) {
      const { digest, bytes, blobs } = imageOf(image)
      const at = now - 1_000_000_000 + image
      written += put(digest, bytes, mediaTypes.ociManifest, at)
      link.run(place.upstream, place.repository, digest, 'manifest')
      tag.run(place.upstream, place.repository, `${image}`, digest, now)
      for (const blob of blobs) {
        if (image % 10 === 0 || blobs.indexOf(blob) >= 3) {
          written += put(blob.digest, blob.bytes, blobType, at)
        }
        edge.run(digest, blob.digest)
        link.run(place.upstream, place.repository, blob.digest, 'blob')
      }
    }
  })
  rmSync(store.folder.journal, { force: true })
  // Its end writes the journal.
  openIndex(dir).close()
  store.close()
  return image
}

function open(dir: string): KeptCache {
  return openCache({
    dir,
    memoryBytes: 0,
    maxBytes: Number.MAX_SAFE_INTEGER,
    minFree: 0,
    openUpstream: () => {
      throw new Error('nothing is to be fetched')
    },
    freshnessOf: () => ({ tagTtl: 1e12, staleIfError: 1e12 }),
    offline: () => true,
    report: () => undefined,
    log: pino({ level: 'silent' }),
    metrics: uncounted,
  })
}

/** An image by its tag, each blob to its last byte. */
async function pull(cache: KeptCache, image: number): Promise<void> {
  const buffer = Buffer.alloc(65_536)
  await cache.tag(place, `${image}`)
  for (const { digest } of imageOf(image).blobs) {
    const { content } = await cache.blob(place, digest)
    if (content.kind === 'small') continue
    let position = 0
    for (let bytes = 1; bytes > 0; position += bytes) bytes = await content.read(buffer, position)
    content.close()
  }
}

/** The index is on the disk, and has read the files. */
function isWhole(dir: string): boolean {
  const sqlite = new DatabaseSync(join(dir, 'index.db'), { readOnly: true })
  try {
    const number = (name: string) => Number(sqlite.prepare(`PRAGMA ${name}`).get()?.[name])
    return number('user_version') > 0 && number('application_id') !== lacksFacts
  } finally {
    sqlite.close()
  }
}

async function measure(work: () => unknown): Promise<string> {
  const before = { cpu: process.cpuUsage(), time: performance.now() }
  await work()
  const { user, system } = process.cpuUsage(before.cpu)
  const cpu = (user + system) / 1000
  const time = performance.now() - before.time
  return `${time.toFixed(time < 10 ? 2 : 0)} ms, ${cpu.toFixed(cpu < 10 ? 2 : 0)} ms of CPU`
}

const tell = (line: string) => process.stdout.write(`${line}\n`)
const [entries, every] = [Number(process.argv[2] ?? 1_000_000), Number(process.argv[3] ?? 10)]
const fillOnly = process.argv[4]
if (fillOnly !== undefined) {
  tell(`${fill(fillOnly, entries, every)}`)
  process.exit()
}
const dir = mkdtempSync('/tmp/many-entries-')
const sizeOf = (name: string) => `${(statSync(join(dir, name)).size / 2 ** 20).toFixed(0)} MiB`
let images = 0
try {
  // By a process of its own: what it takes is not the cache's.
  const args = [import.meta.filename, `${entries}`, `${every}`, dir]
  images = Number(execFileSync(process.execPath, args, { encoding: 'utf8' }))
  tell(`${entries.toLocaleString('en')} entries of ${images} images`)
  tell(`index ${sizeOf('index.db')}, journal ${sizeOf('journal')}`)
  const resident = process.memoryUsage.rss() / 2 ** 20
  let cache = open(dir)
  await cache.close()
  tell(`start: ${await measure(() => void (cache = open(dir)))}`)
  await pull(cache, 0)
  const count = 500
  const some = Array.from(
    { length: count },
    (_, at) => Math.floor((at * images) / count / every) * every,
  )
  const each = async () => {
    for (const image of some) await pull(cache, image)
  }
  tell(`${count} images pulled for the first time since: ${await measure(each)}`)
  tell(`${count} images pulled again: ${await measure(each)}`)
  const before = `${resident.toFixed(0)} before it was opened`
  tell(`resident: ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB, ${before}`)
  await cache.close()
  for (const suffix of ['', '-wal', '-shm']) rmSync(join(dir, `index.db${suffix}`), { force: true })
  tell(`start without an index: ${await measure(() => void (cache = open(dir)))}`)
  const delays = monitorEventLoopDelay({ resolution: 5 })
  delays.enable()
  const last = Math.floor((images - 1) / every) * every
  const isPulled = async () =>
    pull(cache, last).then(
      () => true,
      () => false,
    )
  const until = async (done: () => boolean | Promise<boolean>) => {
    while (!(await done())) await setTimeout(50)
  }
  tell(`until an image is served offline: ${await measure(async () => until(isPulled))}`)
  tell(`until the files are read: ${await measure(async () => until(() => isWhole(dir)))}`)
  delays.disable()
  tell(`longest pause of the event loop meanwhile: ${(delays.max / 1e6).toFixed(0)} ms`)
  await cache.close()
} finally {
  rmSync(dir, { recursive: true })
}
