// Writes images of the cache into one tar: an OCI layout that docker loads as well.
import { createHash, type KeyObject } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { pack, type Pack } from 'tar-stream'
import { openIndex } from '../cache/index/content-index.ts'
import { openStore, type Store } from '../cache/store.ts'
import { algorithmOf, hexOf, type Digest } from '../oci/digest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import { UsageError } from '../errors.ts'
import { pieces } from './archive/archive.ts'
import { findInputs } from './archive/inputs.ts'
import { BadArchive } from './bad-archive.ts'
import {
  blobsOfBundle,
  bundleListFile,
  bundleListOf,
  bundleSignatureFile,
} from './bundle/bundle-list.ts'
import { writePieces } from './bundle/piece-writer.ts'
import { signBundle } from './bundle/signature.ts'
import { dockerManifest } from './archive/docker-archive.ts'
import type { ImageDescriptor } from './documents.ts'
import { findHolding, type HeldManifest, type Holding } from './cached-image.ts'
import { formatImage, type ImageName } from './image-name.ts'
import { blobPath, layoutIndex } from './archive/oci-graph.ts'
import { fullNameKey, layoutFile, refNameKey } from './archive/oci-layout.ts'

export interface ExportOptions {
  /** The cache folder. */
  dir: string
  /** Where the tar goes; it appears there once it is whole. */
  file: string
  /** A bundle that the other side has imported: what is in it is left out. */
  since?: string
  /** Signs the list of what the bundle holds. */
  signKey?: KeyObject
  /** Bytes of a piece, where it is to be written in pieces. */
  pieceSize?: number
  /** What `docker load` takes of an image of several platforms, such as `linux/amd64`. */
  platform: string
  /** Told before the writing begins, with the bytes there are, and as they are written. */
  onBegin?: (bytes: number) => (written: number) => void
}

export interface ExportSummary {
  exported: { name: ImageName; digest: Digest; absent: string[]; related: Digest[] }[]
  /** Bytes of blobs that were left out. */
  omitted: number
  /** Sentences; where there is one, no file is written. */
  failed: { name: ImageName; message: string }[]
}

/** Exports all `names`, or nothing. Throws where stored content turns out to be damaged. */
export async function exportImages(
  names: readonly ImageName[],
  options: ExportOptions,
): Promise<ExportSummary> {
  const { dir, file, since, pieceSize } = options
  const store = openStore(dir)
  const index = openIndex(dir)
  try {
    const found: Holding[] = []
    const failed: ExportSummary['failed'] = []
    for (const name of names) {
      const holding = await findHolding({ store, index }, name)
      if (typeof holding === 'string') failed.push({ name, message: holding })
      else found.push(holding)
    }
    if (failed.length > 0) return { exported: [], omitted: 0, failed }
    const known = since === undefined ? new Set<Digest>() : await knownSince(since, store)
    const layout = layoutOf(found, known)
    await writeFileWhole({ file, pieceSize }, (tar) => writeLayout(tar, store, layout, options))
    const exported = found.map(({ name, root, absent, related }) => ({
      name,
      digest: root.digest,
      absent,
      related: related.map((held) => held.root.digest),
    }))
    return { exported, omitted: sumOf(layout.omitted), failed }
  } finally {
    index.close()
    store.close()
  }
}

/** Throws UsageError `--since`. */
async function knownSince(path: string, store: Store): Promise<Set<Digest>> {
  try {
    const known = new Set<Digest>()
    for (const { open } of await findInputs(path)) {
      const archive = await open(store.folder)
      try {
        for (const digest of await blobsOfBundle(archive)) known.add(digest)
      } finally {
        await archive.close()
      }
    }
    if (known.size > 0) return known
    throw new BadArchive(path, 'holds no blobs as an OCI layout has them')
  } catch (error) {
    if (!(error instanceof BadArchive)) throw error
    throw new UsageError([{ path: '--since', message: error.message }])
  }
}

interface Target {
  file: string
  pieceSize: number | undefined
}

async function writeFileWhole(
  { file, pieceSize }: Target,
  write: (tar: Pack) => Promise<void>,
): Promise<void> {
  const partial = `${file}.${process.pid}.partial`
  const tar = pack()
  const written =
    pieceSize === undefined
      ? pipeline(tar, createWriteStream(partial, { flush: true }))
      : writePieces(tar as AsyncIterable<Buffer>, file, pieceSize)
  try {
    await Promise.all([
      written,
      write(tar).catch((error: unknown) => {
        tar.destroy(error as Error)
        throw error
      }),
    ])
    if (pieceSize === undefined) await rename(partial, file)
  } finally {
    // Whoever still writes would leave a file behind.
    await written.catch(() => undefined)
    await rm(partial, { force: true })
  }
}

/** What a bundle is made of. */
interface Layout {
  holdings: readonly Holding[]
  manifests: HeldManifest[]
  blobs: ImageDescriptor[]
  omitted: ImageDescriptor[]
}

/** @param known blobs that the other side has; manifests are small, and come always */
function layoutOf(holdings: readonly Holding[], known: ReadonlySet<Digest>): Layout {
  const all = holdings.flatMap((holding) => [holding, ...holding.related])
  const blobs = uniqueByDigest(all.flatMap((held) => held.blobs))
  return {
    holdings,
    manifests: uniqueByDigest(all.flatMap((held) => held.manifests)),
    blobs: blobs.filter(({ digest }) => !known.has(digest)),
    omitted: blobs.filter(({ digest }) => known.has(digest)),
  }
}

async function writeLayout(
  tar: Pack,
  store: Store,
  { holdings, manifests, blobs, omitted }: Layout,
  { platform, since, signKey, onBegin }: ExportOptions,
): Promise<void> {
  const advance = onBegin?.(sumOf(blobs))
  const images = holdings.flatMap((held) => dockerItem(held, platform))
  const small: Record<string, Buffer> = {
    [layoutFile]: json({ imageLayoutVersion: '1.0.0' }),
    [layoutIndex]: json(indexOf(holdings)),
    // docker load takes no image that is not all there.
    ...(omitted.length === 0 && { [dockerManifest]: json(images) }),
    ...Object.fromEntries(manifests.map(({ digest, bytes }) => [blobPath(digest), bytes])),
  }
  const large = Object.fromEntries(blobs.map((blob) => [blobPath(blob.digest), blob]))
  if (since !== undefined || signKey !== undefined) {
    const list = bundleListOf({ ...small, ...large }, omitted)
    addSmall(tar, bundleListFile, list)
    if (signKey !== undefined) addSmall(tar, bundleSignatureFile, signBundle(list, signKey))
  }
  for (const [path, bytes] of Object.entries(small)) addSmall(tar, path, bytes)
  for (const blob of blobs) await addStored(tar, store, blob, advance)
  tar.finalize()
}

function sumOf(blobs: readonly ImageDescriptor[]): number {
  return blobs.reduce((sum, { size }) => sum + size, 0)
}

/** Each image under its name, and what is related to them. */
function indexOf(holdings: readonly Holding[]) {
  const entries = holdings.flatMap(({ root, name, related }) => [{ root, name }, ...related])
  const tags = entries.map(({ name }) => name?.tag)
  const isUnique = (tag: string) => tags.filter((other) => other === tag).length === 1
  const described = entries.map(({ root, name }) => ({
    ...descriptorOf(root),
    ...(name && { annotations: annotationsOf(name, isUnique) }),
  }))
  return {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: described.filter(
      ({ digest, annotations }, at) =>
        annotations !== undefined || described.findIndex((other) => other.digest === digest) === at,
    ),
  }
}

/** skopeo selects by `ref.name`, which by its specification is a tag, as far as that is enough. */
function annotationsOf(name: ImageName, isUnique: (tag: string) => boolean) {
  const full = fullName(name)
  const ref = name.tag !== undefined && isUnique(name.tag) ? name.tag : full
  return { [fullNameKey]: full, [refNameKey]: ref }
}

/** By tag where it has one: docker knows no name of both tag and digest. */
function fullName({ upstream, repository, tag, digest }: ImageName): string {
  return formatImage({ upstream, repository, tag, digest: tag === undefined ? digest : undefined })
}

function descriptorOf({ mediaType, digest, bytes }: HeldManifest) {
  return { mediaType, digest, size: bytes.length }
}

/** The image as `docker load` wants it: one platform, with its layers by path. */
function dockerItem({ name, manifests }: Holding, platform: string) {
  const images = manifests.filter(({ config }) => /image/.test(config?.mediaType ?? ''))
  const image = images.find((manifest) => manifest.platform === platform) ?? images[0]
  if (image?.config === undefined || image.layers === undefined) return []
  return [
    {
      Config: blobPath(image.config.digest),
      RepoTags: name.tag === undefined ? null : [fullName(name)],
      Layers: image.layers.map(({ digest }) => blobPath(digest)),
    },
  ]
}

/** Nothing of the machine or the time is in an entry: the same images make the same tar. */
const entryFields = { mode: 0o644, mtime: new Date(0), uid: 0, gid: 0 }

function addSmall(tar: Pack, name: string, bytes: Buffer): void {
  tar.entry({ ...entryFields, name }, bytes)
}

async function addStored(
  tar: Pack,
  store: Store,
  { digest, size }: ImageDescriptor,
  advance: ((written: number) => void) | undefined,
): Promise<void> {
  const handle = await store.open(digest)
  if (handle === undefined) throw new Error(`${digest} went away while it was exported`)
  const hash = createHash(algorithmOf(digest))
  try {
    await pipeline(
      pieces(handle, 0, size),
      async function* (chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          hash.update(chunk)
          advance?.(chunk.length)
          yield chunk
        }
      },
      tar.entry({ ...entryFields, name: blobPath(digest), size }),
    )
  } finally {
    await handle.close()
  }
  if (hash.digest('hex') !== hexOf(digest)) {
    throw new Error(
      `${digest} is damaged in the cache: remove ${store.pathOf(digest)}, then preload the image`,
    )
  }
}

function uniqueByDigest<T extends { digest: Digest }>(items: readonly T[]): T[] {
  const byDigest = new Map(items.map((item) => [item.digest, item]))
  return [...byDigest.values()].toSorted((one, other) => (one.digest < other.digest ? -1 : 1))
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}
