// Brings images from archives and folders into the cache: all of an image, or nothing of it.
import { openIndex, type Index } from '../cache/index/content-index.ts'
import { openStore, type Store } from '../cache/store.ts'
import { UsageError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { KeyObject } from 'node:crypto'
import { pieces, type Archive } from './archive/archive.ts'
import type { ArchiveImage } from './archive/archive-image.ts'
import { BadArchive } from './bad-archive.ts'
import {
  bundleListFile,
  bundleSignatureFile,
  flawsOf,
  readBundleFile,
  readBundleList,
  withOmitted,
} from './bundle/bundle-list.ts'
import { isSignedBy } from './bundle/signature.ts'
import { dockerImages, dockerManifest } from './archive/docker-archive.ts'
import {
  destinationOf,
  formatImage,
  type Destination,
  type ImageName,
  type Naming,
} from './image-name.ts'
import { findInputs, type Input } from './archive/inputs.ts'
import { layoutFile, ociImages } from './archive/oci-layout.ts'
import { openShelf } from './cache-writer.ts'

export interface ImportOptions {
  /** The cache folder. */
  dir: string
  naming: Naming
  /** Where the images belong, as far as their own names shall not say. */
  as?: Destination
  /** Bundles must have a list that is signed by this key, and be as it says. */
  verifyKey?: KeyObject
  /** Ends the import: what is whole by then stays, and the reason is thrown. */
  signal?: AbortSignal
  /** Told when an image begins: what it is called, and the bytes that will be read. */
  onImage?: (label: string, bytes: number) => ImportProgress
}

/** Told as the work goes on. */
export interface ImportProgress {
  advance: (bytes: number) => void
  end: (outcome: ImportedImage | ImportFailure) => void
}

export interface ImportedImage {
  /** The file or folder it came from. */
  path: string
  names: ImageName[]
  digest: Digest
  /** Bytes that were written; the rest was in the cache already. */
  written: number
  /** Platforms that its index lists and the archive does not hold. */
  absent: string[]
}

export interface ImportFailure {
  path: string
  /** What the image was to be called, where that is known. */
  names: ImageName[]
  /** The entry of the archive that is wrong. */
  entry: string
  message: string
}

export interface ImportSummary {
  imported: ImportedImage[]
  failed: ImportFailure[]
}

/**
 * Imports everything at `paths`, one image after the other. Whatever is wrong with an image is in
 * `failed`; what goes wrong here, such as a full disk, is thrown. UsageError: `dir` cannot be used.
 */
export async function importAll(
  paths: readonly string[],
  options: ImportOptions,
): Promise<ImportSummary> {
  const store = openStore(options.dir)
  const index = openIndex(options.dir)
  try {
    if (index.isVolatile) {
      throw new UsageError([{ path: 'cache.dir', message: `${options.dir} cannot be written` }])
    }
    const run: Run = {
      ...options,
      store,
      index,
      taken: new Map(),
      seen: new Set(),
      imported: [],
      failed: [],
    }
    for (const path of paths) await importPath(run, path)
    return { imported: run.imported, failed: run.failed }
  } finally {
    index.close()
    store.close()
  }
}

interface Run extends ImportOptions, ImportSummary {
  store: Store
  index: Index
  /** What each name of this run means: no two images may have the same one. */
  taken: Map<string, Digest>
  /** Inputs that were there already: each piece of a bundle stands for all of it. */
  seen: Set<string>
}

async function importPath(run: Run, path: string): Promise<void> {
  try {
    for (const input of await findInputs(path)) {
      if (!run.seen.has(input.path)) await importInput(run, input)
      run.seen.add(input.path)
    }
  } catch (error) {
    run.failed.push(failureOf(error, path))
  }
}

async function importInput(run: Run, { path, name, open }: Input): Promise<void> {
  let archive: Archive | undefined
  try {
    archive = await open(run.store.folder)
    let progress: ImportProgress | undefined
    const metered = meter(archive, (bytes) => {
      run.signal?.throwIfAborted()
      progress?.advance(bytes)
    })
    const flaws = run.verifyKey === undefined ? [] : await flawsOfSigned(archive, run.verifyKey)
    if (flaws.length > 0) {
      run.failed.push(...flaws.map((flaw) => failureOf(flaw, path)))
      return
    }
    const images = await imagesIn(await withCached(run, metered))
    if (images.length === 0) throw new BadArchive(path, 'holds no image')
    for (const image of images) {
      const named = name === undefined ? image : { ...image, names: [name] }
      progress = run.onImage?.(labelOf(path, named), image.bytes)
      const outcome = await importImage(run, path, named)
      progress?.end(outcome)
    }
  } catch (error) {
    run.failed.push(failureOf(error, path))
  } finally {
    await archive?.close()
  }
}

/** Everything that keeps a bundle from being what was signed. */
async function flawsOfSigned(archive: Archive, key: KeyObject): Promise<BadArchive[]> {
  const list = await readBundleList(archive)
  if (list === undefined || archive.sizeOf(bundleSignatureFile) === undefined) {
    return [new BadArchive(bundleSignatureFile, 'is missing: the bundle is not signed')]
  }
  const signed = await readBundleFile(archive, bundleListFile)
  if (!isSignedBy(signed, await readBundleFile(archive, bundleSignatureFile), key)) {
    return [new BadArchive(bundleSignatureFile, 'is not a signature by that key over the list')]
  }
  return flawsOf(archive, list)
}

/** What a bundle leaves out is read from the cache. */
async function withCached({ store }: Run, archive: Archive): Promise<Archive> {
  const { omitted } = (await readBundleList(archive)) ?? { omitted: [] }
  return withOmitted(archive, omitted, {
    size: store.size,
    async *read(digest) {
      const handle = await store.open(digest)
      if (handle === undefined) throw new BadArchive(digest, 'is not in the cache any more')
      try {
        yield* pieces(handle, 0, (await handle.stat()).size)
      } finally {
        await handle.close()
      }
    },
  })
}

/** Reads the archive by its kind: a layout where it has one, which keeps the digests it came with. */
async function imagesIn(archive: Archive): Promise<ArchiveImage[]> {
  const has = (name: string) => archive.sizeOf(name) !== undefined
  if (has(layoutFile)) return ociImages(archive)
  if (has(dockerManifest)) return dockerImages(archive)
  throw new BadArchive(dockerManifest, `is missing, and so is ${layoutFile}: this is no image`)
}

async function importImage(run: Run, path: string, image: ArchiveImage) {
  const shelf = openShelf(run.store, run.index)
  let names: ImageName[] = []
  try {
    names = namesOf(image, run)
    const stored = await image.store(shelf)
    for (const { bytes, digest } of stored.manifests) {
      await shelf.keep(image.entry, digest, (append) => append(bytes))
    }
    take(run, names, stored.root, image.entry)
    shelf.enter(stored, names)
    const { root: digest, absent } = stored
    const imported = { path, names, digest, absent, written: shelf.written() }
    run.imported.push(imported)
    return imported
  } catch (error) {
    await shelf.clear()
    const failure = failureOf(error, path, names)
    run.failed.push(failure)
    return failure
  }
}

/** Where the image belongs. Throws BadArchive where neither it nor the command line says so. */
function namesOf({ names, entry }: ArchiveImage, { as, naming }: ImportOptions): ImageName[] {
  const given = names.length === 0 ? [{}] : names
  const all = given.map((name) => {
    const destination = destinationOf(name, as, naming)
    if (typeof destination === 'string') throw new BadArchive(entry, destination)
    return destination
  })
  return [...new Map(all.map((name) => [formatImage(name), name])).values()]
}

function take({ taken }: Run, names: readonly ImageName[], root: Digest, entry: string): void {
  for (const name of names.filter(({ tag }) => tag !== undefined)) {
    const text = formatImage(name)
    if ((taken.get(text) ?? root) !== root) {
      throw new BadArchive(
        entry,
        `would be ${text}, as an image before it: import them by themselves`,
      )
    }
    taken.set(text, root)
  }
}

function failureOf(error: unknown, path: string, names: ImageName[] = []): ImportFailure {
  if (!(error instanceof BadArchive)) throw error
  return { path, names, entry: error.entry, message: error.message }
}

function labelOf(path: string, { names, entry }: ArchiveImage): string {
  const [name = {}] = names
  const { repository = path, tag } = name
  return [repository, tag ?? (names.length === 0 ? entry : undefined)].filter(Boolean).join(':')
}

function meter(archive: Archive, advance: (bytes: number) => void): Archive {
  return {
    ...archive,
    async *read(name) {
      for await (const chunk of archive.read(name)) {
        advance(chunk.length)
        yield chunk
      }
    },
  }
}
