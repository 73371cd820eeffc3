// An OCI image layout, as a folder or in a tar: `oci-layout`, `index.json` and `blobs/`.
import type { Digest } from '../../oci/digest.ts'
import { manifestLimit } from '../../oci/manifest.ts'
import { readSmall, type Archive } from './archive.ts'
import type { ArchiveImage, Sink, StoredImage, StoredManifest } from './archive-image.ts'
import { BadArchive } from '../bad-archive.ts'
import { dockerManifest, readDockerManifest } from './docker-archive.ts'
import { IndexDocument, parseDocument } from '../documents.ts'
import { splitName, type GivenName } from '../image-name.ts'
import { blobPath, graphOf, layoutIndex, type Graph } from './oci-graph.ts'

/** The file that makes a tar or folder an OCI layout. */
export const layoutFile = 'oci-layout'

/** What the tools of containerd and docker call an image in full; `ref.name` then is the tag. */
export const fullNameKey = 'io.containerd.image.name'
/** image-spec "Pre-Defined Annotation Keys" */
export const refNameKey = 'org.opencontainers.image.ref.name'

const configTypes =
  /^application\/vnd\.(oci\.image\.config\.v1|docker\.container\.image\.v1)\+json$/

/**
 * The images of `index.json`. An entry without a name that refers to another as its subject, such
 * as a signature, comes with that one.
 */
export async function ociImages(archive: Archive): Promise<ArchiveImage[]> {
  const { manifests } = parseDocument(
    IndexDocument,
    await readSmall(archive, layoutIndex, manifestLimit),
    layoutIndex,
  )
  const dockerNames = await namesByConfig(archive)
  const good: Entry[] = []
  const bad: ArchiveImage[] = []
  for (const same of Map.groupBy(manifests, ({ digest }) => digest).values()) {
    const names = same.flatMap(({ annotations }) => namesIn(annotations))
    const [first] = same
    if (first === undefined) continue
    try {
      good.push({ graph: await graphOf(archive, first), names })
    } catch (error) {
      if (!(error instanceof BadArchive)) throw error
      bad.push({ entry: error.entry, names, bytes: 0, store: () => Promise.reject(error) })
    }
  }
  const images = withReferrers(good).map(({ graph, names }) => {
    const byConfig = graph.blobs.flatMap(({ digest }) => dockerNames.get(digest) ?? [])
    return {
      entry: blobPath(graph.root),
      names: byConfig.length > 0 ? byConfig : names,
      bytes: graph.blobs.reduce((sum, { size }) => sum + size, 0),
      store: (sink: Sink) => storeGraph(archive, graph, sink),
    }
  })
  return [...images, ...bad]
}

/** The RepoTags that newer docker and containerd write beside the layout. */
async function namesByConfig(archive: Archive): Promise<Map<Digest, GivenName[]>> {
  if (archive.sizeOf(dockerManifest) === undefined) return new Map()
  const items = await readDockerManifest(archive)
  return new Map(
    items.map(({ Config, RepoTags }) => [
      `sha256:${Config.split('/').at(-1) ?? ''}`,
      (RepoTags ?? []).map(splitName),
    ]),
  )
}

function namesIn(annotations: Record<string, string> = {}): GivenName[] {
  const full = annotations[fullNameKey]
  const ref = annotations[refNameKey]
  if (full !== undefined) return [splitName(full)]
  if (ref === undefined) return []
  return [/[:/]/.test(ref) ? splitName(ref) : { tag: ref }]
}

interface Entry {
  graph: Graph
  names: GivenName[]
}

function withReferrers(entries: readonly Entry[]): Entry[] {
  const isReferrer = ({ graph, names }: Entry) =>
    names.length === 0 && graph.subjects.some((subject) => holderOf(subject, graph) !== undefined)
  const holderOf = (subject: Digest, not: Graph) =>
    entries.find(
      ({ graph }) => graph !== not && graph.manifests.some(({ digest }) => digest === subject),
    )
  const images = entries.filter((entry) => !isReferrer(entry))
  const waiting = entries.filter(isReferrer)
  return images.map(({ graph, names }) => {
    const manifests: StoredManifest[] = [...graph.manifests]
    const blobs = [...graph.blobs]
    const isAbout = (subject: Digest) => manifests.some(({ digest }) => digest === subject)
    // Until nothing is added: a signature may be about an SBOM that comes after it.
    for (let left = waiting, before = -1; left.length !== before;) {
      before = left.length
      const added = left.filter((entry) => entry.graph.subjects.some(isAbout))
      manifests.push(...added.flatMap((entry) => entry.graph.manifests))
      blobs.push(...added.flatMap((entry) => entry.graph.blobs))
      left = left.filter((entry) => !added.includes(entry))
    }
    return { graph: { ...graph, manifests, blobs }, names }
  })
}

async function storeGraph(archive: Archive, graph: Graph, sink: Sink): Promise<StoredImage> {
  for (const { digest, mediaType } of graph.blobs) {
    const path = blobPath(digest)
    if (configTypes.test(mediaType)) await checkConfig(archive, path)
    if (await sink.has(digest)) continue
    await sink.keep(path, digest, async (append) => {
      for await (const chunk of archive.read(path)) await append(chunk)
    })
  }
  return graph
}

async function checkConfig(archive: Archive, path: string): Promise<void> {
  const bytes = await readSmall(archive, path, manifestLimit)
  try {
    JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new BadArchive(path, 'is a config, but no JSON', cause)
  }
}
