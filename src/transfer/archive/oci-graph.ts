// What one entry of an OCI layout's index leads to: manifests, configs and layers, all there.
import { algorithmOf, digestOf, hexOf, type Digest } from '../../oci/digest.ts'
import { manifestLimit, readManifest } from '../../oci/manifest.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { readSmall, type Archive } from './archive.ts'
import type { StoredImage } from './archive-image.ts'
import { BadArchive } from '../bad-archive.ts'
import {
  IndexDocument,
  ManifestDocument,
  parseDocument,
  type ImageDescriptor,
} from '../documents.ts'
import { messageOf } from '../../errors.ts'

/** Where a layout says what it holds. */
export const layoutIndex = 'index.json'

export const indexTypes: readonly string[] = [mediaTypes.ociIndex, mediaTypes.dockerList]
export const manifestTypes: readonly string[] = [mediaTypes.ociManifest, mediaTypes.dockerManifest]
export const deepestIndex = 4

/** Everything that one entry of `index.json` leads to. */
export interface Graph extends StoredImage {
  subjects: Digest[]
}

/** The path of content in a layout. */
export function blobPath(digest: Digest): string {
  return `blobs/${algorithmOf(digest)}/${hexOf(digest)}`
}

/**
 * Everything below one entry of `index.json`: the manifests are verified here, the rest when it is
 * read. Throws BadArchive where something is missing.
 */
export async function graphOf(archive: Archive, descriptor: ImageDescriptor): Promise<Graph> {
  const graph: Graph = {
    root: descriptor.digest,
    manifests: [],
    blobs: [],
    absent: [],
    subjects: [],
  }
  await walk(archive, descriptor, layoutIndex, graph, 0)
  return graph
}

/** Adds the manifest or index that `descriptor`, which stands in `source`, means, and all below. */
async function walk(
  archive: Archive,
  descriptor: ImageDescriptor,
  source: string,
  graph: Graph,
  depth: number,
): Promise<void> {
  const { digest } = descriptor
  if (graph.manifests.some((known) => known.digest === digest)) return
  if (depth > deepestIndex) throw new BadArchive(source, 'is an index nested too deeply')
  const path = checkedSize(archive, descriptor, source)
  const bytes = await readSmall(archive, path, manifestLimit)
  const actual = digestOf(bytes, algorithmOf(digest))
  if (actual !== digest) throw new BadArchive(path, `hashes to ${actual}`)
  const { mediaType, subject } = factsOf(bytes, descriptor.mediaType, path)
  graph.manifests.push({ digest, mediaType, bytes })
  if (subject !== undefined) graph.subjects.push(subject)
  if (indexTypes.includes(mediaType)) {
    await walkIndex(archive, bytes, path, graph, depth)
  } else {
    const { config, layers } = parseDocument(ManifestDocument, bytes, path)
    for (const blob of [config, ...layers]) addBlob(archive, blob, path, graph)
  }
}

function factsOf(bytes: Buffer, mediaType: string, path: string) {
  let facts
  try {
    facts = readManifest(bytes)
  } catch (error) {
    throw new BadArchive(path, messageOf(error), error)
  }
  if (facts.mediaType === mediaType) return facts
  throw new BadArchive(path, `the manifest is ${facts.mediaType} but is listed as ${mediaType}`)
}

/** An archive of some platforms keeps the whole index: what it lacks is told, not refused. */
async function walkIndex(
  archive: Archive,
  bytes: Buffer,
  path: string,
  graph: Graph,
  depth: number,
): Promise<void> {
  const { manifests } = parseDocument(IndexDocument, bytes, path)
  const held = manifests.filter(({ digest }) => archive.sizeOf(blobPath(digest)) !== undefined)
  const [first] = manifests
  if (held.length === 0 && first !== undefined) {
    throw new BadArchive(blobPath(first.digest), 'is missing, and so is all else the index lists')
  }
  for (const child of manifests) {
    if (!held.includes(child)) graph.absent.push(platformOf(child))
    else if ([...indexTypes, ...manifestTypes].includes(child.mediaType)) {
      await walk(archive, child, path, graph, depth + 1)
    } else addBlob(archive, child, path, graph)
  }
}

/** `linux/arm64`, or the digest of what is for no platform. */
export function platformOf({ platform, digest }: ImageDescriptor): string {
  if (platform === undefined) return digest
  return [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/')
}

function addBlob(archive: Archive, blob: ImageDescriptor, source: string, graph: Graph): void {
  if (graph.blobs.some(({ digest }) => digest === blob.digest)) return
  const isForeign = /foreign|nondistributable/.test(blob.mediaType)
  if (isForeign && archive.sizeOf(blobPath(blob.digest)) === undefined) return
  checkedSize(archive, blob, source)
  graph.blobs.push(blob)
}

/** The path of a blob that is there and has the size that `source` says. */
function checkedSize(archive: Archive, { digest, size }: ImageDescriptor, source: string): string {
  const path = blobPath(digest)
  const actual = archive.sizeOf(path)
  if (actual === undefined) throw new BadArchive(path, 'is missing')
  if (actual !== size) throw new BadArchive(path, `has ${actual} bytes, but ${source} says ${size}`)
  return path
}
