// What an image of an upstream consists of: its manifests are pulled for it, its blobs are not.
import type { Cache, Found, Small } from '../cache/cache.ts'
import { GatewayError, messageOf } from '../errors.ts'
import { algorithmOf, hexOf, type Digest } from '../oci/digest.ts'
import type { Place } from '../oci/place.ts'
import { readManifest } from '../oci/manifest.ts'
import { schema1Types } from '../oci/media-type.ts'
import {
  ArtifactDocument,
  IndexDocument,
  ManifestDocument,
  parseDocument,
  type ImageDescriptor,
} from './documents.ts'
import type { ImageName } from './image-name.ts'
import { deepestIndex, indexTypes, manifestTypes, platformOf } from './archive/oci-graph.ts'
import { absentOf, wantedEntries, type Platforms } from './platforms.ts'

const artifactType = 'application/vnd.oci.artifact.manifest.v1+json'

export interface Outline {
  digest: Digest
  /** The upstream could not be asked whether the tag still means this. */
  isStale: boolean
  /** The manifest or index itself, what it lists, and what refers to them. */
  manifests: Digest[]
  /** Configs and layers. */
  blobs: ImageDescriptor[]
  /** Signatures, SBOMs and the like. */
  referrers: Digest[]
  /** Why some of those could not be had, which keeps nobody from pulling the image. */
  doubts: string[]
}

/** Throws GatewayError as the cache does, or an Error where the image has not all `platforms`. */
export async function outlineOf(
  cache: Cache,
  name: ImageName,
  platforms: Platforms,
  wantsReferrers = true,
): Promise<Outline> {
  const { content, stale = false } = await rootOf(cache, name)
  const walk = createWalk(cache, name)
  await walk.add(content, platforms)
  const { referrers, doubts } = wantsReferrers
    ? await addReferrers(cache, name, walk)
    : { referrers: [], doubts: [] }
  return {
    digest: content.digest,
    isStale: stale,
    manifests: [...walk.manifests],
    blobs: [...walk.blobs.values()],
    referrers,
    doubts,
  }
}

function rootOf(cache: Cache, name: ImageName) {
  return name.digest === undefined
    ? cache.tag(name, name.tag ?? 'latest')
    : cache.manifest(name, name.digest)
}

/** What an image consists of, as far as it has been walked through. */
interface Walk {
  manifests: Set<Digest>
  blobs: Map<Digest, ImageDescriptor>
  /** Adds the manifest and all below it. */
  add: (manifest: Small, platforms: Platforms, depth?: number) => Promise<void>
}

export function createWalk(cache: Cache, place: Place): Walk {
  const manifests = new Set<Digest>()
  const blobs = new Map<Digest, ImageDescriptor>()

  async function add(manifest: Small, platforms: Platforms, depth = 0): Promise<void> {
    const { digest, mediaType } = manifest
    if (manifests.has(digest)) return
    if (depth > deepestIndex) throw new Error(`${digest} is an index nested too deeply`)
    manifests.add(digest)
    if (indexTypes.includes(mediaType)) return addIndex(manifest, platforms, depth)
    for (const blob of blobsOf(manifest)) blobs.set(blob.digest, blob)
  }

  async function addIndex({ digest, bytes }: Small, platforms: Platforms, depth: number) {
    const { manifests: entries } = parseDocument(IndexDocument, bytes, digest)
    const hasPlatforms = entries.some(({ platform }) => platform !== undefined)
    const absent = hasPlatforms ? absentOf(entries, platforms) : []
    if (absent.length > 0) {
      const there = entries.filter(({ platform }) => platform !== undefined).map(platformOf)
      throw new Error(`has no ${absent.join(', ')}; there are ${there.join(', ')}`)
    }
    for (const entry of wantedEntries(entries, platforms)) {
      if ([...indexTypes, ...manifestTypes].includes(entry.mediaType)) {
        const { content } = await cache.manifest(place, entry.digest)
        await add(content, platforms, depth + 1)
      } else blobs.set(entry.digest, entry)
    }
  }

  return { manifests, blobs, add }
}

function blobsOf({ digest, bytes, mediaType }: Small): ImageDescriptor[] {
  if (mediaType === artifactType) {
    return parseDocument(ArtifactDocument, bytes, digest).blobs ?? []
  }
  if (mediaType === schema1Types.plain || mediaType === schema1Types.signed) {
    // They tell no sizes.
    return readManifest(bytes).children.map((child) => ({ mediaType: '', digest: child, size: 0 }))
  }
  const { config, layers } = parseDocument(ManifestDocument, bytes, digest)
  return [config, ...layers]
}

/**
 * Adds what refers to the manifests of `walk`, and to that: an SBOM may be signed. What cannot be had
 * of it is told.
 */
async function addReferrers(
  cache: Cache,
  place: Place,
  walk: Walk,
): Promise<Pick<Outline, 'referrers' | 'doubts'>> {
  const tags = await tagsOf(cache, place)
  const referrers = new Set<Digest>()
  const doubts: string[] = []
  const unlessFailing = async (what: string, work: () => Promise<void>) =>
    work().catch((error: unknown) => {
      doubts.push(`${what}: ${messageOf(error)}`)
    })

  async function addOne(pull: () => Promise<Found<Small>> | Found<Small>): Promise<void> {
    const { content } = await pull()
    const isNew = !walk.manifests.has(content.digest)
    await walk.add(content, 'all')
    if (isNew) referrers.add(content.digest)
  }

  for (const subject of walk.manifests) {
    await unlessFailing(`referrers of ${subject}`, async () => {
      const { entries } = await cache.referrers(place, subject)
      for (const { digest } of entries) {
        await unlessFailing(digest, async () => addOne(() => cache.manifest(place, digest)))
      }
    })
    for (const tag of tags) {
      if (tag.startsWith(`${algorithmOf(subject)}-${hexOf(subject)}`)) {
        await unlessFailing(tag, async () => addOne(() => cache.tag(place, tag)))
      }
    }
  }
  return { referrers: [...referrers], doubts }
}

/** For the signatures that cosign keeps under tags; there are registries that list none. */
async function tagsOf(cache: Cache, place: Place): Promise<readonly string[]> {
  try {
    return (await cache.tags(place)).entries
  } catch (error) {
    if (error instanceof GatewayError) return []
    throw error
  }
}
