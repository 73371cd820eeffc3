// What is pulled: random blobs and small images, the same for every server.
import { randomBytes } from 'node:crypto'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { mediaTypes } from '../../src/oci/media-type.ts'

/** The name of the repository, at every server. */
export const repository = 'bench/app'

export const KiB = 1024
export const MiB = 1024 * KiB
export const GiB = 1024 * MiB

export function emptyContent(): SampleContent {
  return { blobs: new Map(), manifests: new Map(), tags: new Map() }
}

/** Adds a blob that nobody has seen before: the line that asks for it. */
export function addBlob(content: SampleContent, size: number): string {
  return getBlob(addBytes(content, randomBytes(size)))
}

/** Adds an image for one platform below an index: the lines of a pull, in a client's order. */
export function addImage(
  content: SampleContent,
  tag: string,
  layerSizes: readonly number[],
): string[] {
  const { manifest, blobs } = addPlatformImage(content, layerSizes)
  const platform = { architecture: 'amd64', os: 'linux' }
  const index = addManifest(content, mediaTypes.ociIndex, {
    manifests: [{ ...manifest, platform }],
    annotations: { note: tag.padEnd(500) },
  })
  content.tags.set(tag, index.digest)
  return [
    headManifest(tag),
    getManifest(index.digest),
    getManifest(manifest.digest),
    ...blobs.map(getBlob),
  ]
}

/** Adds an image without an index, whose tag is `cold-` and the hex of its digest: the lines of a pull. */
export function addColdImage(content: SampleContent, layerSizes: readonly number[]): string[] {
  const { manifest, blobs } = addPlatformImage(content, layerSizes)
  const tag = `cold-${manifest.digest.slice('sha256:'.length)}`
  content.tags.set(tag, manifest.digest)
  return [headManifest(tag), getManifest(manifest.digest), ...blobs.map(getBlob)]
}

function addPlatformImage(content: SampleContent, layerSizes: readonly number[]) {
  const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip'
  const layers = layerSizes.map((size) => describe(layerType, content, randomBytes(size)))
  // As of every image, it is of no other.
  const rootfs = { type: 'layers', diff_ids: layers.map(({ digest }) => digest) }
  const told = { architecture: 'amd64', os: 'linux', rootfs, padding: 'x'.repeat(1000) }
  const config = describe(
    'application/vnd.oci.image.config.v1+json',
    content,
    Buffer.from(JSON.stringify(told)),
  )
  const manifest = addManifest(content, mediaTypes.ociManifest, { config, layers })
  return { manifest, blobs: [config, ...layers].map(({ digest }) => digest) }
}

function headManifest(tag: string): string {
  return `HEAD /v2/${repository}/manifests/${tag}`
}

function getBlob(digest: Digest): string {
  return `GET /v2/${repository}/blobs/${digest}`
}

function getManifest(digest: Digest): string {
  return `GET /v2/${repository}/manifests/${digest}`
}

function describe(mediaType: string, content: SampleContent, bytes: Buffer) {
  return { mediaType, digest: addBytes(content, bytes), size: bytes.length }
}

function addBytes({ blobs }: SampleContent, bytes: Buffer): Digest {
  const digest = digestOf(bytes)
  blobs.set(digest, bytes)
  return digest
}

function addManifest({ manifests }: SampleContent, mediaType: string, parts: object) {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...parts }))
  const digest = digestOf(bytes)
  manifests.set(digest, { mediaType, bytes })
  return { mediaType, digest, size: bytes.length }
}
