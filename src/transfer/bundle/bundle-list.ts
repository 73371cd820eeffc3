// The list of all that a bundle holds, and of what it leaves out because the other side has it; it is
// what a signature is over.
import Type, { type Static } from 'typebox'
import { digestOf, hasherFor, hexOf, isDigest, type Digest } from '../../oci/digest.ts'
import { readSmall, type Archive } from '../archive/archive.ts'
import { blobPath } from '../archive/oci-graph.ts'
import { BadArchive } from '../bad-archive.ts'
import { DigestText, parseDocument } from '../documents.ts'

/** Where the list stands in a bundle, and its signature: the bytes that were signed are those of the file. */
export const bundleListFile = 'portcullis/bundle.json'
export const bundleSignatureFile = 'portcullis/bundle.sig'

const Content = Type.Object({ digest: DigestText, size: Type.Integer({ minimum: 0 }) })

const Document = Type.Object({
  version: Type.Literal(1),
  /** Every file of the bundle but this one and its signature. */
  files: Type.Record(Type.String(), Content),
  /** Blobs that belong to its images, and are not in it. */
  omitted: Type.Array(Content),
})

export type BundleList = Static<typeof Document>
export type BundleContent = Static<typeof Content>

const longestList = 64 * 2 ** 20

/** The list; undefined where the archive has none. Throws BadArchive where it is of no use. */
export async function readBundleList(archive: Archive): Promise<BundleList | undefined> {
  if (archive.sizeOf(bundleListFile) === undefined) return undefined
  const bytes = await readBundleFile(archive, bundleListFile)
  return parseDocument(Document, bytes, bundleListFile)
}

/** The bytes of the list, or of its signature. Throws BadArchive. */
export async function readBundleFile(archive: Archive, path: string): Promise<Buffer> {
  return readSmall(archive, path, longestList)
}

/** The blobs that whoever has imported the bundle has. */
export async function blobsOfBundle(archive: Archive): Promise<Set<Digest>> {
  const list = await readBundleList(archive)
  const names = [...archive.names()].flatMap((name) => {
    const [, algorithm = '', hex = ''] = /^blobs\/(sha\d+)\/([0-9a-f]+)$/.exec(name) ?? []
    const digest = `${algorithm}:${hex}`
    return isDigest(digest) ? [digest] : []
  })
  return new Set([...names, ...(list?.omitted ?? []).map(({ digest }) => digest)])
}

/** Everything about the files of a bundle that is not as its list says; nothing where all is right. */
export async function flawsOf(archive: Archive, { files }: BundleList): Promise<BadArchive[]> {
  const flaws: BadArchive[] = []
  for (const [path, content] of Object.entries(files)) {
    const flaw = await flawOf(archive, path, content)
    if (flaw !== undefined) flaws.push(new BadArchive(path, flaw))
  }
  const known = new Set([...Object.keys(files), bundleListFile, bundleSignatureFile])
  const added = [...archive.names()].filter((path) => !known.has(path))
  return [
    ...flaws,
    ...added.map((path) => new BadArchive(path, 'is not on the list of the bundle')),
  ]
}

async function flawOf(archive: Archive, path: string, { digest, size }: BundleContent) {
  const actual = archive.sizeOf(path)
  if (actual === undefined) return 'is on the list of the bundle, and missing'
  if (actual !== size) return `has ${actual} bytes, but the list of the bundle says ${size}`
  const hash = hasherFor(digest)
  for await (const chunk of archive.read(path)) hash.update(chunk)
  return hash.digest('hex') === hexOf(digest) ? undefined : `does not hash to ${digest}`
}

/** @param files by path: small ones as they are, blobs by their digest */
export function bundleListOf(
  files: Readonly<Record<string, Buffer | BundleContent>>,
  omitted: readonly BundleContent[],
): Buffer {
  const entries = Object.entries(files).map(([path, file]) => {
    const content = Buffer.isBuffer(file) ? { digest: digestOf(file), size: file.length } : file
    return [path, { digest: content.digest, size: content.size }] as const
  })
  const list: BundleList = {
    version: 1,
    files: Object.fromEntries(entries),
    omitted: omitted.map(({ digest, size }) => ({ digest, size })),
  }
  return Buffer.from(`${JSON.stringify(list, undefined, 1)}\n`)
}

/** The archive with what it leaves out taken from `stored`. Throws BadArchive where that is not there. */
export async function withOmitted(
  archive: Archive,
  omitted: readonly BundleContent[],
  stored: {
    size: (digest: Digest) => Promise<number | undefined>
    read: (digest: Digest) => AsyncIterable<Buffer>
  },
): Promise<Archive> {
  const sizes = new Map<string, BundleContent>()
  for (const content of omitted) {
    const path = blobPath(content.digest)
    if ((await stored.size(content.digest)) !== content.size) {
      throw new BadArchive(
        path,
        'is neither in the bundle nor in the cache: import the bundle first that this one was made since',
      )
    }
    sizes.set(path, content)
  }
  return {
    ...archive,
    sizeOf: (name) => archive.sizeOf(name) ?? sizes.get(name)?.size,
    read(name) {
      const content = archive.sizeOf(name) === undefined ? sizes.get(name) : undefined
      return content === undefined ? archive.read(name) : stored.read(content.digest)
    },
  }
}
