// Images made of given layers, and what pulls them through a cache as an engine does.
import { createHash } from 'node:crypto'
import type { Cache } from '../../src/cache/cache.ts'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { readManifest } from '../../src/oci/manifest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import type { Place } from '../../src/oci/place.ts'
import { addBlob, readAll } from './cache.ts'

export function emptyContent(): SampleContent {
  return { blobs: new Map(), manifests: new Map(), tags: new Map() }
}

/** Bytes that no two names have in common, the same every time. */
export function layerOf(name: string, bytes: number): Buffer {
  const block = createHash('sha256').update(name).digest()
  return Buffer.alloc(bytes, block)
}

/** Adds an image manifest of these layers; its config is the name. */
export function addImage(
  content: SampleContent,
  name: string,
  layers: readonly Buffer[],
  { tags = [name], subject }: { tags?: string[]; subject?: Digest } = {},
): Digest {
  const described = (bytes: Buffer, mediaType: string) => ({
    mediaType,
    digest: addBlob(content, bytes),
    size: bytes.length,
  })
  const digest = addDocument(content, mediaTypes.ociManifest, {
    config: described(Buffer.from(`config of ${name}`), 'application/vnd.oci.image.config.v1+json'),
    layers: layers.map((layer) => described(layer, 'application/vnd.oci.image.layer.v1.tar')),
    ...(subject === undefined ? {} : { subject: descriptorOf(content, subject) }),
  })
  for (const tag of tags) content.tags.set(tag, digest)
  return digest
}

/** Adds an index of these manifests. */
export function addIndex(
  content: SampleContent,
  tag: string,
  manifests: readonly Digest[],
): Digest {
  const digest = addDocument(content, mediaTypes.ociIndex, {
    manifests: manifests.map((manifest) => descriptorOf(content, manifest)),
  })
  content.tags.set(tag, digest)
  return digest
}

/** What the manifest refers to, and so on: all digests of the image, its own first. */
export function partsIn(content: SampleContent, digest: Digest): Digest[] {
  const manifest = content.manifests.get(digest)
  if (manifest === undefined) return [digest]
  const { children } = readManifest(manifest.bytes)
  return [digest, ...children.flatMap((child) => partsIn(content, child))]
}

/**
 * Pulls as an engine does: the tag, what it lists, then all blobs, several at once. Throws where
 * something cannot be had, or is wrong.
 */
export async function pull(
  cache: Pick<Cache, 'tag' | 'manifest' | 'blob'>,
  place: Place,
  reference: string,
): Promise<void> {
  const found = reference.includes(':')
    ? await cache.manifest(place, reference as Digest)
    : await cache.tag(place, reference)
  await pullBelow(cache, place, found.content.bytes)
}

async function pullBelow(
  cache: Pick<Cache, 'tag' | 'manifest' | 'blob'>,
  place: Place,
  bytes: Buffer,
): Promise<void> {
  const { children, mediaType } = readManifest(bytes)
  if (mediaType === mediaTypes.ociIndex) {
    for (const child of children) await pull(cache, place, child)
    return
  }
  await Promise.all(
    children.map(async (digest) => {
      const body = await readAll(await cache.blob(place, digest))
      if (digestOf(body) !== digest) throw new Error(`${digest} is wrong`)
    }),
  )
}

function addDocument(content: SampleContent, mediaType: string, document: object): Digest {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...document }))
  const digest = digestOf(bytes)
  content.manifests.set(digest, { mediaType, bytes })
  return digest
}

function descriptorOf({ manifests }: SampleContent, digest: Digest) {
  const { mediaType = '', bytes = Buffer.alloc(0) } = manifests.get(digest) ?? {}
  return { mediaType, digest, size: bytes.length }
}
