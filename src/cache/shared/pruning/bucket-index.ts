// Reads a bucket into an index of its own, by which it is judged as a cache folder is: in a file, so that
// it takes no more memory for a large bucket.
import { isDigest, type Digest } from '../../../oci/digest.ts'
import { manifestLimit } from '../../../oci/manifest.ts'
import type { Place } from '../../../oci/place.ts'
import { openStore } from '../../store.ts'
import { blobType } from '../../disk/trusted-file.ts'
import { manifestIn } from '../../index/content-facts.ts'
import { openIndex, type Index, type TagFacts } from '../../index/content-index.ts'
import { contentKey, digestIn, readLink, readPlacedKey, readTag, tagKey } from '../layout.ts'
import type { ListedObject, ObjectStore } from '../object-store.ts'
import { readSmallObject } from '../small-object.ts'
import { recordTime } from './records.ts'

/** Requests at once. */
const atOnce = 16
const requestMs = 60_000
/** Rows that are written in one go. */
const stepRows = 1000

export interface BucketIndex {
  index: Index
  /** Keys of the records of prunings. */
  records: string[]
  close: () => void
}

/**
 * `dir` is an empty folder. When an image was pulled last is when its manifest or a tag of it was written
 * last. Rejects as the store does, and with `signal`.
 */
export async function readBucket(
  store: ObjectStore,
  dir: string,
  signal: AbortSignal,
): Promise<BucketIndex> {
  const folder = openStore(dir)
  const index = openIndex(dir, { isScratch: true })
  const bucket: BucketIndex = {
    index,
    records: [],
    close() {
      try {
        index.close()
      } finally {
        folder.close()
      }
    },
  }
  try {
    for await (const step of inSteps(store.list('blobs/', signal))) addContents(index, step)
    for await (const step of inSteps(store.list('repositories/', signal))) {
      for (const { key } of step) if (recordTime(key) !== undefined) bucket.records.push(key)
      await addNames(store, index, step, signal)
    }
    return bucket
  } catch (error) {
    bucket.close()
    throw error
  }
}

function addContents(index: Index, objects: readonly ListedObject[]): void {
  index.transaction(() => {
    for (const { key, size, modified } of objects) {
      const digest = digestIn(key)
      const facts = { mediaType: blobType, size, mtime: modified }
      if (digest !== undefined) index.addContent(digest, facts, modified)
    }
  })
}

async function addNames(
  store: ObjectStore,
  index: Index,
  objects: readonly ListedObject[],
  signal: AbortSignal,
): Promise<void> {
  const pulled = new Map<Digest, number>()
  const pull = (digest: Digest, at: number) =>
    void pulled.set(digest, Math.max(at, pulled.get(digest) ?? 0))
  /** They are one commit. */
  const names: (() => void)[] = []
  const work: (() => Promise<void>)[] = []
  for (const { key, modified } of objects) {
    const { place, kind, name = '' } = readPlacedKey(key) ?? {}
    if (place === undefined) continue
    if (kind === 'tag') {
      work.push(async () => {
        const facts = await readTagAt(store, place, name, signal)
        if (facts === undefined) return
        names.push(() => index.setTag(place, name, facts.digest, facts.checkedAt))
        pull(facts.digest, modified)
      })
    } else if ((kind === 'manifest' || kind === 'blob') && isDigest(name)) {
      names.push(() => index.addLink(place, name, kind))
      if (kind === 'blob') continue
      pull(name, modified)
      work.push(async () => addManifest(store, index, { key, digest: name, signal }))
    }
  }
  await inParallel(work)
  index.transaction(() => {
    for (const add of names) add()
  })
  index.touchContents(pulled)
}

/** undefined: it is not there, or is no tag. */
export async function readTagAt(
  store: ObjectStore,
  place: Place,
  name: string,
  signal: AbortSignal,
): Promise<TagFacts | undefined> {
  const bytes = await readAll(store, tagKey(place, name), signal)
  return bytes && readTag(bytes)
}

interface ManifestLink {
  key: string
  digest: Digest
  signal: AbortSignal
}

/** Notes what it lists: what hashes wrong lists nothing, and no replica would believe it. */
async function addManifest(
  store: ObjectStore,
  index: Index,
  { key, digest, signal }: ManifestLink,
): Promise<void> {
  const content = index.content(digest) === undefined ? await aliasAt(store, key, signal) : digest
  const facts = content && index.content(content)
  if (content === undefined || facts === undefined) return
  if (facts.mediaType !== blobType || facts.size > manifestLimit) return
  const bytes = await readAll(store, contentKey(content), signal)
  if (bytes === undefined) return
  const { mediaType, edges = [] } = manifestIn(content, bytes) ?? {}
  if (mediaType === undefined) return
  const { size, mtime } = facts
  index.transaction(() => {
    for (const edge of edges) index.addEdges(...edge)
    index.addContent(content, { mediaType, size, mtime }, mtime)
  })
}

/** By which the content of a signed manifest is stored. */
async function aliasAt(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<Digest | undefined> {
  const bytes = await readAll(store, key, signal)
  return bytes && readLink(bytes)?.content
}

async function readAll(
  store: ObjectStore,
  key: string,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(requestMs)])
  const object = await store.get(key, { signal: limit })
  return object && readSmallObject(object)
}

/** Rejects with the first failure. */
export async function inParallel(work: readonly (() => Promise<void>)[]): Promise<void> {
  const left = [...work].reverse()
  const run = async () => {
    for (let one = left.pop(); one !== undefined; one = left.pop()) await one()
  }
  try {
    await Promise.all(Array.from({ length: atOnce }, run))
  } finally {
    // After a failure nobody begins anything more.
    left.length = 0
  }
}

async function* inSteps(objects: AsyncIterable<ListedObject>): AsyncGenerator<ListedObject[]> {
  let step: ListedObject[] = []
  for await (const object of objects) {
    step.push(object)
    if (step.length < stepRows) continue
    yield step
    step = []
  }
  if (step.length > 0) yield step
}
