// A small multi-platform image with real OCI bytes, the same every time: what the demo pulls.
import { createCipheriv, createHash } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'
import { digestOf, type Digest } from '../oci/digest.ts'
import { mediaTypes } from '../oci/media-type.ts'
import { programPrinting, type Architecture } from './program.ts'

/** What one repository of a registry holds. */
export interface SampleContent {
  blobs: Map<Digest, Buffer>
  manifests: Map<Digest, { mediaType: string; bytes: Buffer }>
  tags: Map<string, Digest>
}

interface Descriptor {
  mediaType: string
  digest: Digest
  size: number
}

/** What a container of the image prints. */
export const printedLine = 'running main'

const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip'
const configType = 'application/vnd.oci.image.config.v1+json'
const emptyType = 'application/vnd.oci.empty.v1+json'
const sbomType = 'application/spdx+json'
const created = '1970-01-01T00:00:00Z'

/**
 * Builds an index for linux/amd64 and linux/arm64, tagged `1.0` and `latest`, whose images run one
 * static binary that prints `printedLine`, and an SBOM that refers to the index as its subject. The
 * images share one large random layer; the rest of them is a few kilobytes.
 * @param options.layerBytes size of the large layer's content, 8 MiB unless told otherwise
 * @param options.seed another seed gives other digests
 */
export async function buildSampleImage(
  options: { layerBytes?: number; seed?: string } = {},
): Promise<SampleContent> {
  const { layerBytes = 8 * 2 ** 20, seed = 'portcullis' } = options
  const content: SampleContent = { blobs: new Map(), manifests: new Map(), tags: new Map() }
  const large = await addLayer(content, [
    { path: 'data/random', bytes: randomBytes(layerBytes, seed) },
  ])
  const images = []
  for (const architecture of ['amd64', 'arm64'] as const) {
    const image = await addImage(content, architecture, large, seed)
    images.push({ ...image, platform: { architecture, os: 'linux' } })
  }
  const index = addManifest(content, {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: images,
    annotations: { 'org.opencontainers.image.version': '1.0' },
  })
  addSbom(content, index)
  content.tags.set('1.0', index.digest).set('latest', index.digest)
  return content
}

interface TarEntry {
  /** Relative path. */
  path: string
  bytes: Buffer
  /** Permission bits; 0o644 when absent. */
  mode?: number
}

interface Layer {
  descriptor: Descriptor
  /** Digest of the uncompressed tar. */
  diffId: Digest
}

async function addImage(
  content: SampleContent,
  architecture: Architecture,
  large: Layer,
  seed: string,
) {
  const program = programPrinting(`${printedLine}\n`, architecture)
  const release = `NAME=Sample\nVERSION_ID=1.0\nARCHITECTURE=${architecture}\nSEED=${seed}\n`
  const layers = [
    await addLayer(content, [{ path: 'main', bytes: program, mode: 0o755 }]),
    await addLayer(content, [{ path: 'etc/os-release', bytes: Buffer.from(release) }]),
    large,
  ]
  const config = addBlob(
    content,
    configType,
    json({
      created,
      architecture,
      os: 'linux',
      config: { Entrypoint: ['/main'], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.map(() => ({ created, created_by: 'portcullis demo' })),
    }),
  )
  return addManifest(content, {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config,
    layers: layers.map(({ descriptor }) => descriptor),
  })
}

/** An artifact in the form of image-spec's "Guidelines for Artifact Usage", with a subject. */
function addSbom(content: SampleContent, subject: Descriptor): Descriptor {
  const sbom = {
    spdxVersion: 'SPDX-2.3',
    dataLicense: 'CC0-1.0',
    SPDXID: 'SPDXRef-DOCUMENT',
    name: 'sample',
    documentNamespace: `urn:sample:${subject.digest}`,
    creationInfo: { created, creators: ['Tool: portcullis-demo'] },
  }
  return addManifest(content, {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    artifactType: sbomType,
    config: addBlob(content, emptyType, Buffer.from('{}')),
    layers: [addBlob(content, sbomType, json(sbom))],
    subject,
    annotations: { 'org.opencontainers.image.created': created },
  })
}

async function addLayer(content: SampleContent, entries: readonly TarEntry[]): Promise<Layer> {
  const tar = await tarOf(entries)
  return {
    descriptor: addBlob(content, layerType, gzipSync(tar, { level: 1 })),
    diffId: digestOf(tar),
  }
}

/** An archive of regular files owned by root and dated 1970: the same bytes for the same entries. */
function tarOf(entries: readonly TarEntry[]): Promise<Buffer> {
  const tar = pack()
  const owner = { uid: 0, gid: 0, uname: 'root', gname: 'root' }
  for (const { path, bytes, mode = 0o644 } of entries) {
    tar.entry({ name: path, mode, mtime: new Date(0), ...owner }, bytes)
  }
  tar.finalize()
  return buffer(tar)
}

function addBlob(content: SampleContent, mediaType: string, bytes: Buffer): Descriptor {
  const digest = digestOf(bytes)
  content.blobs.set(digest, bytes)
  return { mediaType, digest, size: bytes.length }
}

function addManifest(
  content: SampleContent,
  manifest: { mediaType: string; [key: string]: unknown },
) {
  const { mediaType } = manifest
  const bytes = json(manifest)
  const digest = digestOf(bytes)
  content.manifests.set(digest, { mediaType, bytes })
  return { mediaType, digest, size: bytes.length } satisfies Descriptor
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value, null, 2))
}

/** Incompressible bytes that depend on nothing but the seed: the AES-CTR key stream. */
function randomBytes(size: number, seed: string): Buffer {
  const key = createHash('sha256').update(seed).digest()
  return createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size))
}
