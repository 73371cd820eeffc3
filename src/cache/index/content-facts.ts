// Reads from the files themselves what an index that was made anew has to know of them: sizes, media
// types of manifests, and what those refer to.
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { algorithmOf, digestOf, type Digest } from '../../oci/digest.ts'
import { manifestLimit, readManifest, type ManifestFacts } from '../../oci/manifest.ts'
import { manifestDigestOf } from '../../oci/schema1.ts'
import { blobType } from '../disk/trusted-file.ts'
import type { Store } from '../store.ts'
import type { Index } from './content-index.ts'
import type { TolerantIndex } from './tolerant-index.ts'

/** No time that a file has: it will be hashed before it is trusted. */
const unhashed = 0
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
/** What most manifests fit into, bytes. */
const firstRead = 16 * 1024
/** As many are read at once: others want the thread pool, too. */
const readers = 4
/** Files that are written together: some milliseconds, in which nobody is served. */
const stepFiles = 16

/** What one file tells. */
interface FileFacts {
  digest: Digest
  size: number
  mtime: number
  /** Absent where it is no manifest. */
  mediaType?: string
  edges: Parameters<Index['addEdges']>[]
}

/** Goes through all files; what cannot be read is left to whoever asks for it. */
export async function readFacts(
  { store, index }: { store: Store; index: TolerantIndex },
  signal: AbortSignal,
): Promise<void> {
  const digests = store.digests()[Symbol.asyncIterator]()
  let read: FileFacts[] = []

  function write(): void {
    const step = read
    read = []
    if (step.length > 0) index.together((all) => step.forEach((facts) => take(all, facts)))
  }

  async function readOn(): Promise<void> {
    for (let next = await digests.next(); next.done !== true; next = await digests.next()) {
      if (signal.aborted) return
      const facts = await factsOf(store, next.value).catch(() => undefined)
      if (facts !== undefined) read.push(facts)
      if (read.length >= stepFiles) write()
    }
  }

  await Promise.all(Array.from({ length: readers }, readOn))
  write()
  if (!signal.aborted) index.hasFacts()
}

async function factsOf(store: Store, digest: Digest): Promise<FileFacts | undefined> {
  const file = await open(store.pathOf(digest), flags)
  try {
    const stat = await file.stat()
    if (!stat.isFile()) return undefined
    const { size, mtimeMs: mtime } = stat
    const known = { digest, size, mtime, edges: [] }
    if (size < 2 || size > manifestLimit) return known
    const start = Buffer.allocUnsafe(Math.min(size, firstRead))
    const { bytesRead } = await file.read(start, 0, start.length, 0)
    if (!/[\s{]/.test(start.toString('latin1', 0, 1))) return known
    const bytes = bytesRead === size ? start : await file.readFile()
    return { ...known, ...manifestIn(digest, bytes) }
  } finally {
    await file.close()
  }
}

/** Of what is a manifest and hashes right. */
export function manifestIn(
  digest: Digest,
  bytes: Buffer,
): Pick<FileFacts, 'mediaType' | 'edges'> | undefined {
  if (digestOf(bytes, algorithmOf(digest)) !== digest) return undefined
  const facts = manifestFacts(bytes)
  if (facts === undefined) return undefined
  const { mediaType, children, subject } = facts
  const edges: FileFacts['edges'] = []
  const parent = algorithmOf(digest) === 'sha256' ? manifestDigestOf(bytes) : digest
  if (parent !== digest) edges.push([parent, [digest], 'signed'], [digest, children])
  edges.push([parent, children])
  if (subject !== undefined) edges.push([parent, [subject], 'subject'])
  return { mediaType, edges }
}

function manifestFacts(bytes: Buffer): ManifestFacts | undefined {
  try {
    return readManifest(bytes)
  } catch {
    return undefined
  }
}

function take(index: Index, { digest, size, mtime, mediaType, edges }: FileFacts): void {
  for (const some of edges) index.addEdges(...some)
  const at = Math.trunc(mtime)
  if (mediaType !== undefined) index.addContent(digest, { mediaType, size, mtime }, at)
  else if (index.content(digest)?.size !== size) {
    index.addContent(digest, { mediaType: blobType, size, mtime: unhashed }, at)
  }
}
