// Pulls whole images through the cache before anybody asks for them.
import type { Cache } from '../cache/cache.ts'
import { GatewayError, messageOf } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Place } from '../oci/place.ts'
import type { ImageDescriptor } from './documents.ts'
import { formatImage, type ImageName } from './image-name.ts'
import { outlineOf } from './upstream-image.ts'
import type { Platforms } from './platforms.ts'

export interface PreloadOptions {
  cache: Cache
  platforms: Platforms
  /** Whether signatures, SBOMs and the like come with an image; they do unless told. */
  referrers?: boolean
  /** Images at once. */
  jobs: number
  /** An image is begun, with all its bytes: what is told as they come, and at its end. */
  onImage?: (label: string, bytes: number) => Progress
}

interface Progress {
  advance: (bytes: number) => void
  end: () => void
}

export interface PreloadedImage {
  name: ImageName
  digest: Digest
  /** Manifests and indexes, those of the referrers too. */
  manifests: number
  /** Bytes of all configs and layers. */
  bytes: number
  /** Bytes of them that the cache did not have yet. */
  fetched: number
  /** Blobs of it that are not in the cache, because it cannot store them. */
  unstored: number
  /** Signatures, SBOMs and the like. */
  referrers: Digest[]
  /** The upstream could not be asked whether the tag still means this. */
  isStale: boolean
  /** Why some of the referrers could not be had. */
  doubts: string[]
}

export interface PreloadSummary {
  preloaded: PreloadedImage[]
  failed: { name: ImageName; message: string }[]
}

/** As docker does it. */
const blobsAtOnce = 3
const readSize = 256 * 1024

/** Preloads all `names`, in their order; one that fails keeps nothing from the others. */
export async function preloadImages(
  names: readonly ImageName[],
  options: PreloadOptions,
): Promise<PreloadSummary> {
  const results: (PreloadedImage | { name: ImageName; message: string })[] = []
  const counted = new Set<Digest>()
  await forEach([...names.entries()], options.jobs, async ([at, name]) => {
    results[at] = await preloadImage(name, options, counted).catch((error: unknown) => ({
      name,
      message: messageOf(error),
    }))
  })
  return {
    preloaded: results.filter((result) => 'digest' in result),
    failed: results.filter((result) => 'message' in result),
  }
}

/** @param counted blobs that are in the `fetched` of some image */
export async function preloadImage(
  name: ImageName,
  { cache, platforms, referrers: wantsReferrers, onImage }: Omit<PreloadOptions, 'jobs'>,
  counted: Set<Digest> = new Set(),
): Promise<PreloadedImage> {
  const outline = await outlineOf(cache, name, platforms, wantsReferrers)
  const { digest, isStale, manifests, blobs, referrers, doubts } = outline
  const bytes = blobs.reduce((sum, { size }) => sum + size, 0)
  const progress = onImage?.(formatImage(name), bytes)
  let fetched = 0
  try {
    await pullBlobs(cache, name, blobs, {
      onBytes: (more) => progress?.advance(more),
      onFetched(digest, read) {
        if (!counted.has(digest)) fetched += read
        counted.add(digest)
      },
    })
  } finally {
    progress?.end()
  }
  const unstored = await countUnstored(cache, blobs)
  const found = { name, digest, manifests: manifests.length, bytes, fetched, unstored }
  return { ...found, referrers, isStale, doubts }
}

async function countUnstored(cache: Cache, blobs: readonly ImageDescriptor[]): Promise<number> {
  let count = 0
  for (const blob of blobs) {
    if (!isForeign(blob) && !(await cache.isStored(blob.digest))) count += 1
  }
  return count
}

/** Layers that must not be distributed are on the hosts of who made them. */
function isForeign({ mediaType }: ImageDescriptor): boolean {
  return /foreign|nondistributable/.test(mediaType)
}

/** Brings blobs into the cache, a few at once; throws what was thrown first. */
export async function pullBlobs(
  cache: Cache,
  place: Place,
  blobs: readonly ImageDescriptor[],
  told: {
    onBytes?: (bytes: number) => void
    /** It was downloaded. */
    onFetched?: (digest: Digest, bytes: number) => void
  },
): Promise<void> {
  const onBytes = told.onBytes ?? (() => undefined)
  await forEach(blobs, blobsAtOnce, async (blob) => {
    const bytes = await pullBlob(cache, place, blob, onBytes)
    if (bytes > 0) told.onFetched?.(blob.digest, bytes)
  })
}

/** Brings a blob into the cache. Returns the bytes that were downloaded, 0 where it was there. */
async function pullBlob(
  cache: Cache,
  place: Place,
  blob: ImageDescriptor,
  onBytes: (bytes: number) => void,
): Promise<number> {
  try {
    const { content, source } = await cache.blob(place, blob.digest)
    if (source !== 'fill') {
      if (content.kind === 'large') content.close()
      onBytes(blob.size)
      return 0
    }
    if (content.kind === 'small') {
      onBytes(content.bytes.length)
      return content.bytes.length
    }
    try {
      // The end is given only once all of it is verified.
      const buffer = Buffer.allocUnsafe(readSize)
      for (let position = 0; ;) {
        const bytes = await content.read(buffer, position)
        if (bytes === 0) return position
        position += bytes
        onBytes(bytes)
      }
    } finally {
      content.close()
    }
  } catch (error) {
    if (isForeign(blob) && error instanceof GatewayError && error.code === 'BLOB_UNKNOWN') return 0
    throw new Error(`${blob.digest}: ${messageOf(error)}`, {
      cause: error,
    })
  }
}

/** `work` on every item, so many at once. Goes through all of them, and throws what was thrown first. */
async function forEach<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const errors: unknown[] = []
  const waiting = items.values()
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, async () => {
    for (const item of waiting) await work(item).catch((error: unknown) => errors.push(error))
  })
  await Promise.all(workers)
  if (errors.length > 0) throw errors[0]
}
