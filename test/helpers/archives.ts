// Image archives as the tools of the trade write them, made of one image with real bytes.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { extract, pack, type Header } from 'tar-stream'
import { buildSampleImage, type SampleContent } from '../../src/demo/sample-image.ts'
import { hexOf, type Digest } from '../../src/oci/digest.ts'

/** Files of an archive by path; a text is a link to that path. */
export type Files = Record<string, Buffer | string>

interface Descriptor {
  mediaType: string
  digest: Digest
  size: number
  annotations?: Record<string, string>
}

interface Manifest {
  config: Descriptor
  layers: Descriptor[]
}

/** The sample image, the parts of its linux/amd64 image, and the digest of its index. */
export async function sample(seed = 'archives') {
  const content = await buildSampleImage({ layerBytes: 200_000, seed })
  const index = content.tags.get('latest') as Digest
  const { manifests } = documentOf(content, index) as { manifests: Descriptor[] }
  const digest = (manifests[0] as Descriptor).digest
  const { config, layers } = documentOf(content, digest) as Manifest
  return { content, index, manifest: { digest, config, layers } }
}

export function documentOf(content: SampleContent, digest: Digest): unknown {
  return JSON.parse((content.manifests.get(digest)?.bytes ?? Buffer.alloc(0)).toString())
}

export function blobOf(content: SampleContent, digest: Digest): Buffer {
  const bytes = content.blobs.get(digest)
  if (bytes === undefined) throw new Error(`${digest} is no blob`)
  return bytes
}

/** An OCI layout with everything in `content`; entries of its index have only what is given. */
export function layoutFiles(
  content: SampleContent,
  entries: { digest: Digest; annotations?: Record<string, string> }[],
): Files {
  const blobs = [...content.blobs, ...[...content.manifests].map(([d, { bytes }]) => [d, bytes])]
  const manifests = entries.map(({ digest, annotations }) => {
    const { mediaType, bytes } = content.manifests.get(digest) ?? { mediaType: '', bytes: '' }
    return { mediaType, digest, size: bytes.length, ...(annotations && { annotations }) }
  })
  return {
    'oci-layout': json({ imageLayoutVersion: '1.0.0' }),
    'index.json': json({ schemaVersion: 2, manifests }),
    ...Object.fromEntries(
      (blobs as [Digest, Buffer][]).map(([d, bytes]) => [`blobs/sha256/${hexOf(d)}`, bytes]),
    ),
  }
}

/** `ref.name` as skopeo and the specification have it. */
export function refName(name: string): Record<string, string> {
  return { 'org.opencontainers.image.ref.name': name }
}

/** What `crane pull` writes: gzipped layers and the config, each named by its digest. */
export function craneFiles(
  { content, manifest }: Awaited<ReturnType<typeof sample>>,
  tags: string[],
): Files {
  const layers = manifest.layers.map(({ digest }) => ({
    name: `${hexOf(digest)}.tar.gz`,
    bytes: blobOf(content, digest),
  }))
  const { digest } = manifest.config
  return {
    [digest]: blobOf(content, digest),
    ...Object.fromEntries(layers.map(({ name, bytes }) => [name, bytes])),
    'manifest.json': json([
      { Config: digest, RepoTags: tags, Layers: layers.map(({ name }) => name) },
    ]),
  }
}

/** What `docker save` wrote before its version 25: bare layers, each in a folder of its own. */
export function dockerFiles(
  { content, manifest }: Awaited<ReturnType<typeof sample>>,
  tags: string[],
): Files {
  const config = `${hexOf(manifest.config.digest)}.json`
  const layers = manifest.layers.map(({ digest }) => {
    const id = createHash('sha256').update(`id of ${digest}`).digest('hex')
    return { id, bytes: gunzipSync(blobOf(content, digest)) }
  })
  return {
    ...Object.fromEntries(
      layers.flatMap(({ id, bytes }) => [
        [`${id}/VERSION`, Buffer.from('1.0')],
        [`${id}/json`, json({ id })],
        [`${id}/layer.tar`, bytes],
      ]),
    ),
    [config]: blobOf(content, manifest.config.digest),
    'manifest.json': json([
      { Config: config, RepoTags: tags, Layers: layers.map(({ id }) => `${id}/layer.tar`) },
    ]),
    repositories: json({}),
  }
}

/** A tar of `files`; a text becomes a symbolic link. */
export function tarWith(files: Files, extra: Partial<Header>[] = []): Promise<Buffer> {
  const tar = pack()
  for (const [name, content] of Object.entries(files)) {
    if (typeof content === 'string') tar.entry({ name, type: 'symlink', linkname: content })
    else tar.entry({ name }, content)
  }
  for (const header of extra) tar.entry({ name: 'extra', ...header }, Buffer.alloc(0))
  tar.finalize()
  return collect(tar as unknown as AsyncIterable<Buffer>)
}

/** The files of the tar at `file`, by path. */
export async function filesOf(file: string): Promise<Record<string, Buffer>> {
  const files: Record<string, Buffer> = {}
  const tar = extract()
  tar.end(readFileSync(file))
  for await (const entry of tar) {
    files[entry.header.name] = await collect(entry as unknown as AsyncIterable<Buffer>)
  }
  return files
}

async function collect(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks)
}

export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}

/** `bytes` with one bit changed in the middle. */
export function damaged(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes)
  const middle = copy.length >> 1
  copy.writeUInt8(copy.readUInt8(middle) ^ 1, middle)
  return copy
}
