// The cache as an import fills it: content first, and the index only once an image is whole.
import { createHash } from 'node:crypto'
import type { FileHandle } from 'node:fs/promises'
import type { Index } from '../cache/index/content-index.ts'
import type { Store, Stored } from '../cache/store.ts'
import { GatewayError } from '../errors.ts'
import { hasherFor, hexOf, type Digest } from '../oci/digest.ts'
import { readManifest } from '../oci/manifest.ts'
import type { Append, Sink, StoredImage } from './archive/archive-image.ts'
import { BadArchive } from './bad-archive.ts'
import type { ImageName } from './image-name.ts'
import { openSpool } from './archive/spool.ts'

/**
 * The content of one image on its way into the cache. A gateway that runs on the same folder sees
 * a file once it is whole, and the image once it is entered.
 */
export interface Shelf extends Sink {
  /** Bytes that were written: what was there already is not. */
  written: () => number
  /** Makes the image known under each name. All of its content must be kept. */
  enter: (image: StoredImage, names: readonly ImageName[]) => void
  /** Removes what was written, unless somebody has come to need it meanwhile. */
  clear: () => Promise<void>
}

type Produce = (append: Append) => Promise<void>

export function openShelf(store: Store, index: Index): Shelf {
  const held = new Map<Digest, Stored>()
  const added: Digest[] = []

  async function has(digest: Digest): Promise<boolean> {
    const stored = held.get(digest) ?? (await soundFile(store, index, digest))
    if (stored !== undefined) held.set(digest, stored)
    return stored !== undefined
  }

  async function write(digest: Digest, produce: Produce): Promise<void> {
    const writer = await store.create(digest)
    try {
      await produce(writer.append)
      held.set(digest, await writer.commit())
      added.push(digest)
    } finally {
      await writer.abort()
    }
  }

  /** Content that is made here has no digest before it ends: it waits on a spool for that. */
  async function writeMade(produce: Produce): Promise<Digest> {
    const spool = await openSpool(store.folder)
    try {
      const digest = await fill(spool, produce)
      if (!(await has(digest))) await write(digest, (append) => copy(spool, append))
      return digest
    } finally {
      await spool.close()
    }
  }

  async function writeExpected(digest: Digest, produce: Produce): Promise<Digest> {
    if (await has(digest)) await checkDigest(digest, produce)
    else await write(digest, produce)
    return digest
  }

  return {
    has,
    async keep(entry, expected, produce) {
      try {
        const digest =
          expected === undefined ? await writeMade(produce) : await writeExpected(expected, produce)
        return { digest, size: held.get(digest)?.size ?? 0 }
      } catch (error) {
        const isOther = error instanceof GatewayError && error.code === 'DIGEST_INVALID'
        throw isOther ? new BadArchive(entry, `does not hash to ${expected}`, error) : error
      }
    },
    written: () => added.reduce((sum, digest) => sum + (held.get(digest)?.size ?? 0), 0),
    enter(image, names) {
      index.transaction(() => {
        enterContent(index, held, image)
        for (const name of names) enterName(index, image, name)
      })
    },
    async clear() {
      const isNeeded = (digest: Digest) =>
        index.content(digest) !== undefined || index.links({ digest }).length > 0
      for (const digest of added) if (!isNeeded(digest)) await store.remove(digest)
    },
  }
}

/**
 * What the file system says of stored content; nothing where it is not there, or damaged. A file
 * that the index does not know as it is, such as one of an import that was ended, is hashed.
 */
async function soundFile(store: Store, index: Index, digest: Digest): Promise<Stored | undefined> {
  const handle = await store.open(digest)
  if (handle === undefined) return undefined
  try {
    const { size, mtimeMs: mtime } = await handle.stat()
    const facts = index.content(digest)
    if (facts?.size === size && facts.mtime === mtime) return { size, mtime }
    const hash = hasherFor(digest)
    await copy(handle, async (chunk) => void hash.update(chunk))
    return hash.digest('hex') === hexOf(digest) ? { size, mtime } : undefined
  } finally {
    await handle.close()
  }
}

async function checkDigest(digest: Digest, produce: Produce): Promise<void> {
  const hash = hasherFor(digest)
  await produce(async (chunk) => void hash.update(chunk))
  if (hash.digest('hex') !== hexOf(digest)) {
    throw new GatewayError('DIGEST_INVALID', `the content does not hash to ${digest}`)
  }
}

async function fill(spool: FileHandle, produce: Produce): Promise<Digest> {
  const hash = createHash('sha256')
  await produce(async (chunk) => {
    hash.update(chunk)
    await spool.writeFile(chunk)
  })
  return `sha256:${hash.digest('hex')}`
}

async function copy(file: FileHandle, append: Append): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(512 * 1024)
  for (let position = 0; ;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, position)
    if (bytesRead === 0) return
    await append(buffer.subarray(0, bytesRead))
    position += bytesRead
  }
}

function enterContent(
  index: Index,
  held: ReadonlyMap<Digest, Stored>,
  { manifests, blobs }: StoredImage,
): void {
  for (const { digest, mediaType } of [...manifests, ...blobs]) {
    const stored = held.get(digest)
    if (stored === undefined) throw new Error(`${digest} was entered before it was kept`)
    index.addContent(digest, { mediaType, ...stored })
  }
  for (const { digest, bytes } of manifests) {
    const { children, subject } = readManifest(bytes)
    index.addEdges(digest, children)
    if (subject !== undefined) index.addEdges(digest, [subject], 'subject')
  }
}

function enterName(index: Index, image: StoredImage, name: ImageName): void {
  for (const { digest } of image.manifests) index.addLink(name, digest, 'manifest')
  for (const { digest } of image.blobs) index.addLink(name, digest, 'blob')
  if (name.tag !== undefined) index.setTag(name, name.tag, image.root)
}
