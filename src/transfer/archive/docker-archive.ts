// What `docker save` and `crane pull` write: a config and layers, which get a registry manifest here.
import { digestOf } from '../../oci/digest.ts'
import { manifestLimit } from '../../oci/manifest.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import { readSmall, type Archive } from './archive.ts'
import type { ArchiveImage, Sink, StoredImage } from './archive-image.ts'
import { BadArchive } from '../bad-archive.ts'
import {
  ConfigDocument,
  DockerDocument,
  parseDocument,
  type ImageDescriptor,
} from '../documents.ts'
import { splitName } from '../image-name.ts'
import { claimedDigest, keepLayer } from './docker-layer.ts'

/** The file that makes a tar or folder a docker archive. */
export const dockerManifest = 'manifest.json'

const configType = 'application/vnd.oci.image.config.v1+json'

interface Item {
  Config: string
  RepoTags?: string[] | null
  Layers: string[]
}

/** The items of `manifest.json`. Throws BadArchive where there is none. */
export async function readDockerManifest(archive: Archive): Promise<Item[]> {
  const bytes = await readSmall(archive, dockerManifest, manifestLimit)
  return parseDocument(DockerDocument, bytes, dockerManifest)
}

/**
 * The images of a docker archive. Their manifest is the same at every import, as long as zlib
 * compresses bare layers to the same bytes: it is made from nothing but the archive.
 */
export async function dockerImages(archive: Archive): Promise<ArchiveImage[]> {
  const items = await readDockerManifest(archive)
  const layers = new Map<string, ImageDescriptor>()
  return items.map((item) => ({
    entry: item.Config,
    names: (item.RepoTags ?? []).map(splitName),
    bytes: [item.Config, ...new Set(item.Layers)]
      .map((entry) => archive.sizeOf(entry) ?? 0)
      .reduce((sum, size) => sum + size),
    async store(sink) {
      try {
        return await storeItem(sink, archive, item, layers)
      } catch (error) {
        layers.clear()
        throw error
      }
    },
  }))
}

async function storeItem(
  sink: Sink,
  archive: Archive,
  item: Item,
  known: Map<string, ImageDescriptor>,
): Promise<StoredImage> {
  const config = await readConfig(archive, item)
  const missing = item.Layers.find((entry) => archive.sizeOf(entry) === undefined)
  if (missing !== undefined) throw new BadArchive(missing, 'is missing')
  const layers: ImageDescriptor[] = []
  for (const [index, entry] of item.Layers.entries()) {
    const diffId = config.diffIds[index]
    if (diffId === undefined) throw new BadArchive(entry, 'has no diff ID in the config')
    const key = `${entry} ${diffId}`
    const layer = known.get(key) ?? (await keepLayer(sink, archive, entry, diffId))
    known.set(key, layer)
    layers.push(layer)
  }
  const { bytes } = config
  const kept = await sink.keep(item.Config, claimedDigest(item.Config), (append) => append(bytes))
  const descriptor = { mediaType: configType, ...kept }
  const manifest = manifestOf(descriptor, layers)
  return {
    root: manifest.digest,
    manifests: [manifest],
    blobs: [descriptor, ...layers],
    absent: [],
  }
}

async function readConfig(archive: Archive, item: Item) {
  const bytes = await readSmall(archive, item.Config, manifestLimit)
  const claimed = claimedDigest(item.Config)
  if (claimed !== undefined && digestOf(bytes) !== claimed) {
    throw new BadArchive(item.Config, `hashes to ${digestOf(bytes)}`)
  }
  const { diff_ids: diffIds } = parseDocument(ConfigDocument, bytes, item.Config).rootfs
  if (diffIds.length !== item.Layers.length) {
    throw new BadArchive(
      item.Config,
      `names ${diffIds.length} layers, but ${dockerManifest} ${item.Layers.length}`,
    )
  }
  return { bytes, diffIds }
}

function manifestOf(config: ImageDescriptor, layers: readonly ImageDescriptor[]) {
  const mediaType = mediaTypes.ociManifest
  const plain = ({ mediaType, digest, size }: ImageDescriptor) => ({ mediaType, digest, size })
  const document = {
    schemaVersion: 2,
    mediaType,
    config: plain(config),
    layers: layers.map(plain),
  }
  const bytes = Buffer.from(JSON.stringify(document))
  return { digest: digestOf(bytes), mediaType, bytes }
}
