// What clients and upstreams can make the cache remember is bounded in bytes, in memory and on disk.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { digestOf } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { app, startSite } from '../helpers/cache.ts'
import * as faults from '../helpers/upstream.ts'

const MiB = 2 ** 20
const allowed = 120 * MiB

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

function used(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Bytes of the index, with what it has not yet moved from its log. */
function indexBytes(dir: string): number {
  return ['index.db', 'index.db-wal'].reduce((sum, name) => {
    return sum + (statSync(join(dir, name), { throwIfNoEntry: false })?.size ?? 0)
  }, 0)
}

/** About 3 MiB of descriptors. */
function referrers(): string {
  const entry = { mediaType: mediaTypes.ociManifest, size: 1, digest: digestOf('x') }
  const annotations = { note: 'x'.repeat(1000) }
  return JSON.stringify({
    manifests: Array.from({ length: 2600 }, () => ({ ...entry, annotations })),
  })
}

function tags(): string {
  return JSON.stringify({
    tags: Array.from({ length: 30_000 }, (_, at) => `${at}`.padEnd(100, 'x')),
  })
}

t.test('lists of digests and repositories that a client invents', async (t) => {
  const { cache, dir } = await startSite(t, {
    faults: [
      faults.on(/referrers/, faults.status(200, {}, referrers())),
      faults.on(/tags/, faults.status(200, {}, tags())),
    ],
  })
  const before = { memory: used(), index: indexBytes(dir) }
  for (let round = 0; round < 10; round += 1) {
    const digests = Array.from({ length: 4 }, (_, at) => digestOf(`${round} ${at}`))
    await Promise.all(digests.map(async (digest) => cache.referrers(app, digest)))
    await Promise.all(
      digests.map(async (_, at) => cache.tags({ ...app, repository: `r${round}/${at}` })),
    )
  }
  t.ok(used() - before.memory < allowed, `${(used() - before.memory) / MiB} MiB`)
  t.ok(indexBytes(dir) - before.index < MiB, 'nothing of it is in the index')
})

t.test('an upstream is asked for few lists at once', async (t) => {
  const gate = faults.gate()
  const { cache, upstream } = await startSite(t, { faults: [gate.fault], stallTimeout: 60_000 })
  const all = Array.from({ length: 12 }, (_, at) => cache.referrers(app, digestOf(`${at}`)))
  await gate.held(4)
  await new Promise((resolve) => void setTimeout(resolve, 100))
  t.equal(upstream.requests.length, 4)
  gate.open()
  await Promise.all(all)
  t.equal(upstream.requests.length, 12)
})

t.test('sizes and contents of digests that a client invents leave no trace', async (t) => {
  const { cache, dir } = await startSite(t, {
    faults: [
      faults.on(/^HEAD/, faults.status(200, { 'content-length': '5' })),
      faults.on(/^GET/, faults.status(200, {}, 'wrong')),
    ],
  })
  const before = indexBytes(dir)
  for (let round = 0; round < 300; round += 1) {
    const digest = digestOf(`${round}`, 'sha512')
    await cache.blobSize(app, digest)
    if (round % 10 === 0) {
      await t.rejects(async () => cache.manifest(app, digest), { code: 'UPSTREAM_FAILED' })
      const { content } = await cache.blob(app, digest)
      if (content.kind === 'large') content.close()
    }
  }
  t.equal(indexBytes(dir), before)
})
