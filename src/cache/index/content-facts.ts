// Reads from the files themselves what an index that was made anew has to know of them: sizes, media
// types of manifests, and what those refer to.
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { algorithmOf, digestOf, type Digest } from '../../oci/digest.ts'
import { manifestLimit, readManifest } from '../../oci/manifest.ts'
import { manifestDigestOf } from '../../oci/schema1.ts'
import type { Store } from '../store.ts'
import type { TolerantIndex } from './tolerant-index.ts'

const blobType = 'application/octet-stream'
/** No time that a file has: it will be hashed before it is trusted. */
const unhashed = 0
const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Goes through all files, one after the other; what cannot be read is left to whoever asks for it. */
export async function readFacts(
  { store, index }: { store: Store; index: TolerantIndex },
  signal: AbortSignal,
): Promise<void> {
  for await (const digest of store.digests()) {
    if (signal.aborted) return
    await readFile(store, index, digest).catch(() => undefined)
  }
  index.hasFacts()
}

async function readFile(store: Store, index: TolerantIndex, digest: Digest): Promise<void> {
  const file = await open(store.pathOf(digest), flags)
  try {
    const stat = await file.stat()
    if (!stat.isFile()) return
    const { size, mtimeMs: mtime } = stat
    const start = Buffer.alloc(1)
    const isObject = size <= manifestLimit && (await file.read(start, 0, 1, 0)).bytesRead === 1
    const bytes = isObject && /[\s{]/.test(start.toString('latin1')) ? await file.readFile() : start
    const mediaType = size > 0 && bytes.length > 1 ? takeManifest(index, digest, bytes) : undefined
    const at = Math.trunc(mtime)
    if (mediaType !== undefined) index.addContent(digest, { mediaType, size, mtime }, at)
    else if (index.content(digest)?.size !== size) {
      index.addContent(digest, { mediaType: blobType, size, mtime: unhashed }, at)
    }
  } finally {
    await file.close()
  }
}

/** The media type of what is a manifest and hashes right. */
function takeManifest(index: TolerantIndex, digest: Digest, bytes: Buffer): string | undefined {
  if (digestOf(bytes, algorithmOf(digest)) !== digest) return undefined
  const facts = factsIn(bytes)
  if (facts === undefined) return undefined
  const parent = algorithmOf(digest) === 'sha256' ? manifestDigestOf(bytes) : digest
  if (parent !== digest) {
    index.addEdges(parent, [digest], 'signed')
    index.addEdges(digest, facts.children)
  }
  index.addEdges(parent, facts.children)
  if (facts.subject !== undefined) index.addEdges(parent, [facts.subject], 'subject')
  return facts.mediaType
}

function factsIn(bytes: Buffer) {
  try {
    return readManifest(bytes)
  } catch {
    return undefined
  }
}
