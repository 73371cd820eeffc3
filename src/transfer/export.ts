// Writes images of the cache into one tar: an OCI layout that docker loads as well.
import { createHash } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { pack, type Pack } from 'tar-stream'
import { openIndex } from '../cache/index/content-index.ts'
import { openStore, type Store } from '../cache/store.ts'
import { algorithmOf, hexOf, type Digest } from '../oci/digest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import { pieces } from './archive/archive.ts'
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
  /** What `docker load` takes of an image of several platforms, such as `linux/amd64`. */
  platform: string
  /** Told before the writing begins, with the bytes there are, and as they are written. */
  onBegin?: (bytes: number) => (written: number) => void
}

export interface ExportSummary {
  exported: { name: ImageName; digest: Digest; absent: string[]; related: Digest[] }[]
  /** Sentences; where there is one, no file is written. */
  failed: { name: ImageName; message: string }[]
}

/** Exports all `names`, or nothing. Throws where stored content turns out to be damaged. */
export async function exportImages(
  names: readonly ImageName[],
  { dir, file, platform, onBegin }: ExportOptions,
): Promise<ExportSummary> {
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
    if (failed.length > 0) return { exported: [], failed }
    await writeFileWhole(file, (tar) => writeLayout(tar, store, found, platform, onBegin))
    const exported = found.map(({ name, root, absent, related }) => ({
      name,
      digest: root.digest,
      absent,
      related: related.map((held) => held.root.digest),
    }))
    return { exported, failed }
  } finally {
    index.close()
    store.close()
  }
}

async function writeFileWhole(file: string, write: (tar: Pack) => Promise<void>): Promise<void> {
  const partial = `${file}.${process.pid}.partial`
  const tar = pack()
  try {
    await Promise.all([
      pipeline(tar, createWriteStream(partial)),
      write(tar).catch((error: unknown) => {
        tar.destroy(error as Error)
        throw error
      }),
    ])
    await rename(partial, file)
  } finally {
    await rm(partial, { force: true })
  }
}

async function writeLayout(
  tar: Pack,
  store: Store,
  holdings: readonly Holding[],
  platform: string,
  onBegin: ExportOptions['onBegin'],
): Promise<void> {
  const all = holdings.flatMap((holding) => [holding, ...holding.related])
  const manifests = uniqueByDigest(all.flatMap((held) => held.manifests))
  const blobs = uniqueByDigest(all.flatMap((held) => held.blobs))
  const advance = onBegin?.(blobs.reduce((sum, { size }) => sum + size, 0))

  addSmall(tar, layoutFile, json({ imageLayoutVersion: '1.0.0' }))
  addSmall(tar, layoutIndex, json(indexOf(holdings)))
  addSmall(tar, dockerManifest, json(holdings.flatMap((held) => dockerItem(held, platform))))
  for (const { digest, bytes } of manifests) addSmall(tar, blobPath(digest), bytes)
  for (const blob of blobs) await addStored(tar, store, blob, advance)
  tar.finalize()
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
