// Where in a tar each file lies; refuses whatever an image archive has no use for.
import { pipeline } from 'node:stream/promises'
import { extract, type Header } from 'tar-stream'
import { BadArchive, checkedPath, linkTarget } from '../bad-archive.ts'

/** A file's place in the archive, in bytes. */
export interface TarFile {
  offset: number
  size: number
}

const headerBytes = 512
const mostEntries = 100_000
const mostLinks = 8

/**
 * Reads a tar of `total` bytes once. Files by name, with links followed; a link to nothing is left
 * out. Throws BadArchive naming the first entry that is wrong.
 */
export async function scanTar(
  tar: AsyncIterable<Buffer>,
  total: number,
): Promise<ReadonlyMap<string, TarFile>> {
  const files = new Map<string, TarFile>()
  const links = new Map<string, string>()
  let last = 'the archive itself'
  const extractor = extract()
  const fed = pipeline(tar, extractor).catch(() => {})
  try {
    for await (const body of extractor) {
      last = body.header.name
      enter(body.header, body.offset + headerBytes, total, files, links)
      body.resume()
    }
  } catch (error) {
    if (error instanceof BadArchive || !(error instanceof Error)) throw error
    throw new BadArchive(last, `the tar breaks off or is damaged here (${error.message})`, error)
  } finally {
    await fed
  }
  if (files.size === 0) throw new BadArchive('the archive itself', 'is a tar without any file')
  return withLinks(files, links)
}

function enter(
  { name, type, linkname, size }: Header,
  offset: number,
  total: number,
  files: Map<string, TarFile>,
  links: Map<string, string>,
): void {
  const path = checkedPath(name)
  if (files.has(path) || links.has(path)) throw new BadArchive(name, 'is there twice')
  if (files.size + links.size >= mostEntries) {
    throw new BadArchive(name, `is one entry more than the ${mostEntries} an archive may have`)
  }
  if (type === 'symlink' || type === 'link') {
    links.set(path, linkTarget(path, linkname, type))
  } else if (type === 'file' || type === 'contiguous-file') {
    if (!Number.isSafeInteger(size) || offset + size > total) {
      throw new BadArchive(name, `claims ${size} bytes, which is more than the archive has`)
    }
    files.set(path, { offset, size })
  } else if (type !== 'directory') {
    throw new BadArchive(name, `is a ${type}, which no image archive has`)
  }
}

function withLinks(
  files: ReadonlyMap<string, TarFile>,
  links: ReadonlyMap<string, string>,
): ReadonlyMap<string, TarFile> {
  const all = new Map(files)
  for (const name of links.keys()) {
    let target: string | undefined = name
    for (let hops = 0; hops < mostLinks && target !== undefined && !files.has(target); hops += 1) {
      target = links.get(target)
    }
    const file = target === undefined ? undefined : files.get(target)
    if (file !== undefined) all.set(name, file)
  }
  return all
}
