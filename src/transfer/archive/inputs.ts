// What a path to import means: an archive, the pieces of one, one extracted image, or a tree of them.
import type { Dirent } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import type { Folder } from '../../cache/disk/folder.ts'
import { openPieces } from '../bundle/piece-reader.ts'
import { pieceListOf, pieceListSuffix } from '../bundle/piece-list.ts'
import { openFolder, openTar, tarArchive, type Archive } from './archive.ts'
import { BadArchive } from '../bad-archive.ts'
import { dockerManifest } from './docker-archive.ts'
import type { GivenName } from '../image-name.ts'
import { layoutFile } from './oci-layout.ts'

/** One archive to read. */
export interface Input {
  path: string
  /** What its place in a tree calls it. */
  name?: GivenName
  /** Throws BadArchive where it is none. */
  open: (folder: Folder) => Promise<Archive>
}

/** The folder that the name of an image starts below, in `images/<repository>/<tag>`. */
const treeRoot = 'images'
const deepestTree = 16

/**
 * The archives at `path`. A folder below `images`,
 * or below `path`, is named by its own path: the last folder is the tag.
 */
export async function findInputs(path: string): Promise<Input[]> {
  const stats = await stat(path).catch((cause: unknown) => {
    throw new BadArchive(path, 'does not exist or cannot be read', cause)
  })
  if (stats.isFile()) return [await inputOf(path)]
  if (!stats.isDirectory()) throw new BadArchive(path, 'is neither a file nor a folder')
  return search(path, rootOf(resolve(path)), 0)
}

/** A piece, or the list of them, stands for all of the bundle. */
async function inputOf(path: string): Promise<Input> {
  const list = path.endsWith(pieceListSuffix) ? path : pieceListOf(path)
  const isThere = list !== undefined && (await stat(list).catch(() => undefined))?.isFile() === true
  if (isThere) return pieceInput(list)
  return { path, open: (folder) => openTar(path, folder) }
}

function pieceInput(path: string): Input {
  return { path, open: async () => tarArchive(path, await openPieces(path)) }
}

/** The bundles of which there are pieces in a folder, or their lists. */
function piecesIn(path: string, names: readonly string[]): Input[] {
  const lists = names.flatMap((name) =>
    name.endsWith(pieceListSuffix) ? [name] : (pieceListOf(name) ?? []),
  )
  return [...new Set(lists)].toSorted().map((name) => {
    if (names.includes(name)) return pieceInput(join(path, name))
    const missing = new BadArchive(name, 'is missing: the pieces beside it need it')
    return { path: join(path, name), open: () => Promise.reject(missing) }
  })
}

async function search(path: string, root: string, depth: number): Promise<Input[]> {
  const entries = (await readdir(path, { withFileTypes: true })).filter(isVisible)
  if (entries.some(({ name }) => name === dockerManifest || name === layoutFile)) {
    const name = nameBelow(root, resolve(path))
    return [{ path, ...(name === undefined ? {} : { name }), open: () => openFolder(path) }]
  }
  const bundles = piecesIn(
    path,
    entries.filter((entry) => entry.isFile()).map(({ name }) => name),
  )
  if (bundles.length > 0) return bundles
  const folders = entries.filter((entry) => entry.isDirectory())
  if (folders.length === 0 || depth > deepestTree) {
    const what = depth === 0 ? 'holds no image' : `is a tag folder without ${dockerManifest}`
    return [{ path, open: () => Promise.reject(new BadArchive(path, what)) }]
  }
  const below = folders
    .toSorted(byName)
    .map(({ name }) => search(join(path, name), root, depth + 1))
  return (await Promise.all(below)).flat()
}

function isVisible({ name }: Dirent): boolean {
  return !name.startsWith('.')
}

function byName(one: Dirent, other: Dirent): number {
  return one.name < other.name ? -1 : 1
}

function rootOf(path: string): string {
  const parts = path.split(sep)
  const at = parts.lastIndexOf(treeRoot)
  return at === -1 ? path : parts.slice(0, at + 1).join(sep)
}

function nameBelow(root: string, path: string): GivenName | undefined {
  const parts = relative(root, path).split(sep)
  const tag = parts.pop()
  if (tag === undefined || tag === '' || parts.length === 0) return undefined
  return { repository: parts.join('/'), tag }
}
