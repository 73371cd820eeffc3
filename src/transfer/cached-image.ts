// What the cache holds of an image: whole platforms, and what refers to them.
import type { Index } from '../cache/index/content-index.ts'
import type { Store } from '../cache/store.ts'
import { algorithmOf, digestOf, hexOf, type Digest } from '../oci/digest.ts'
import { manifestLimit, readManifest } from '../oci/manifest.ts'
import type { Place } from '../oci/place.ts'
import {
  IndexDocument,
  ManifestDocument,
  parseDocument,
  type ImageDescriptor,
} from './documents.ts'
import { formatImage, type ImageName } from './image-name.ts'
import { indexTypes, manifestTypes, platformOf } from './archive/oci-graph.ts'

export interface HeldManifest {
  digest: Digest
  mediaType: string
  bytes: Buffer
  /** Such as `linux/amd64`; where an index says so. */
  platform?: string
  /** An image's own; an index has none. */
  config?: ImageDescriptor
  layers?: ImageDescriptor[]
}

/** A manifest or an index with all that the cache holds below it. */
interface Held {
  root: HeldManifest
  /** The root and what it lists. */
  manifests: HeldManifest[]
  blobs: ImageDescriptor[]
  /** Platforms of which something is missing. */
  absent: string[]
}

export interface Holding extends Held {
  name: ImageName
  /** Signatures, SBOMs and the like; a name where a tag is how they are found. */
  related: (Held & { name?: ImageName })[]
}

interface Cache {
  store: Store
  index: Index
}

/** A sentence about what is missing, where the cache does not hold a whole image of this name. */
export async function findHolding(cache: Cache, name: ImageName): Promise<Holding | string> {
  const { index } = cache
  const digest =
    name.digest ?? (name.tag === undefined ? undefined : index.tag(name, name.tag)?.digest)
  if (digest === undefined || !index.linkKinds(name, digest).includes('manifest')) {
    return `${formatImage(name)} is not in the cache: pull it through the gateway, or preload it`
  }
  const held = await gather(cache, digest, undefined)
  if (typeof held === 'string') {
    return `${formatImage(name)} is not whole in the cache: ${held} is missing; preload it`
  }
  return { ...held, name, related: await findRelated(cache, name, held) }
}

/** The manifest and all below it, or the digest of what is missing. */
async function gather(
  cache: Cache,
  digest: Digest,
  platform: string | undefined,
): Promise<Held | string> {
  const bytes = await readStored(cache.store, digest)
  if (bytes === undefined) return digest
  const { mediaType } = readManifest(bytes)
  const root = { digest, mediaType, bytes, ...(platform === undefined ? {} : { platform }) }
  return indexTypes.includes(mediaType) ? gatherIndex(cache, root) : gatherImage(cache, root)
}

async function gatherIndex(cache: Cache, root: HeldManifest): Promise<Held | string> {
  const held: Held = { root, manifests: [root], blobs: [], absent: [] }
  const { manifests } = parseDocument(IndexDocument, root.bytes, root.digest)
  for (const child of manifests) {
    const isManifest = [...indexTypes, ...manifestTypes].includes(child.mediaType)
    const below = isManifest
      ? await gather(cache, child.digest, platformOf(child))
      : await gatherBlob(cache, root, child)
    if (typeof below === 'string') held.absent.push(platformOf(child))
    else {
      held.manifests.push(...below.manifests)
      held.blobs.push(...below.blobs)
      held.absent.push(...below.absent)
    }
  }
  return held.blobs.length === 0 && manifests.length > 0 ? 'every platform' : held
}

/** An index may list other things than manifests. */
async function gatherBlob({ store }: Cache, root: HeldManifest, blob: ImageDescriptor) {
  const isThere = (await store.size(blob.digest)) === blob.size
  return isThere ? { root, manifests: [], blobs: [blob], absent: [] } : blob.digest
}

async function gatherImage({ store }: Cache, root: HeldManifest): Promise<Held | string> {
  const { config, layers } = parseDocument(ManifestDocument, root.bytes, root.digest)
  const blobs: ImageDescriptor[] = []
  for (const blob of [config, ...layers]) {
    if ((await store.size(blob.digest)) === blob.size) blobs.push(blob)
    else if (!/foreign|nondistributable/.test(blob.mediaType)) return blob.digest
  }
  return { root, manifests: [{ ...root, config, layers }], blobs, absent: [] }
}

/** What has one of the manifests as its subject, or is found by a tag made of its digest. */
async function findRelated(cache: Cache, place: Place, held: Held): Promise<Holding['related']> {
  const { index } = cache
  const tags = index.tagsOf(place)
  const related = new Map<Digest, Held & { name?: ImageName }>()
  const waiting = held.manifests.map(({ digest }) => digest)
  for (const subject of waiting) {
    const byTag = tags
      .filter((tag) => tag.startsWith(`${algorithmOf(subject)}-${hexOf(subject)}`))
      .map((tag) => ({ digest: index.tag(place, tag)?.digest, tag }))
    const bySubject = index
      .parentsOf(subject, 'subject')
      .map((digest) => ({ digest, tag: undefined }))
    for (const { digest, tag } of [...byTag, ...bySubject]) {
      if (digest === undefined || related.has(digest)) continue
      if (!index.linkKinds(place, digest).includes('manifest')) continue
      const found = await gather(cache, digest, undefined)
      if (typeof found === 'string') continue
      const { upstream, repository } = place
      related.set(digest, { ...found, ...(tag && { name: { upstream, repository, tag } }) })
      waiting.push(digest)
    }
  }
  return [...related.values()]
}

/** The bytes of a stored manifest; nothing where it is not there or not what its name says. */
async function readStored(store: Store, digest: Digest): Promise<Buffer | undefined> {
  const handle = await store.open(digest)
  if (handle === undefined) return undefined
  try {
    if ((await handle.stat()).size > manifestLimit) return undefined
    const bytes = await handle.readFile()
    return digestOf(bytes, algorithmOf(digest)) === digest ? bytes : undefined
  } finally {
    await handle.close()
  }
}
