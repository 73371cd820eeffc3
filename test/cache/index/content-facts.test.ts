// The files of a cache are read in steps: many in one transaction, and never so many that nobody is served.
import { pino } from 'pino'
import t from 'tap'
import { readFacts } from '../../../src/cache/index/content-facts.ts'
import { openIndex, type Index } from '../../../src/cache/index/content-index.ts'
import { createTolerantIndex } from '../../../src/cache/index/tolerant-index.ts'
import { createStorageProblems } from '../../../src/cache/storage-problems.ts'
import { openStore } from '../../../src/cache/store.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const files = 100
/** As many as a step has at most, with what four readers had in hand. */
const mostTogether = 20

t.test('every file is told, many in one transaction', async (t) => {
  const dir = t.testdir()
  const store = openStore(dir)
  const put = async (bytes: Buffer) => {
    const digest = digestOf(bytes)
    const writer = await store.create(digest)
    await writer.append(bytes)
    await writer.commit()
    return digest
  }
  const blobs = []
  for (let at = 0; at < files; at += 1) blobs.push(await put(Buffer.from(`blob ${at}`)))
  const layers = blobs.map((digest) => ({ digest, size: 8 }))
  const document = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, layers }
  // Longer than what is read of a file at first.
  const manifest = await put(Buffer.from(JSON.stringify(document, undefined, 40)))

  const steps: number[] = []
  const index = openIndex(dir)
  const counting: Index = {
    ...index,
    transaction(work) {
      steps.push(0)
      index.transaction(work)
    },
    addContent(...facts) {
      steps.push((steps.pop() ?? 0) + 1)
      index.addContent(...facts)
    },
  }
  const problems = createStorageProblems(pino({ enabled: false }), () => undefined)
  await readFacts(
    { store, index: createTolerantIndex(counting, problems) },
    new AbortController().signal,
  )
  t.equal(index.contents().length, files + 1)
  t.equal(index.content(manifest)?.mediaType, mediaTypes.ociManifest)
  t.same(index.childrenOf(manifest).sort(), blobs.sort())
  t.ok(steps.length < files / 5, `${steps.length} transactions`)
  t.ok(Math.max(...steps) <= mostTogether, `${Math.max(...steps)} at once`)
  index.close()
  store.close()
})
