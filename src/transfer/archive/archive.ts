// A folder or a tar as a set of named files that can be read in any order.
import { lstat, open, readdir, realpath, type FileHandle } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Folder } from '../../cache/disk/folder.ts'
import { BadArchive, checkedPath } from '../bad-archive.ts'
import { spoolGunzipped } from './spool.ts'
import { scanTar } from './tar-scan.ts'

export interface Archive {
  /** The path it was opened by. */
  path: string
  /** Size in bytes of a file; `undefined` where there is none of that name. */
  sizeOf: (name: string) => number | undefined
  /** Of all files. */
  names: () => Iterable<string>
  /**
   * The bytes of a file, in pieces. Their memory is used again: a piece is good until sixteen more
   * have been read. Throws BadArchive where there is no file of that name.
   */
  read: (name: string) => AsyncIterable<Buffer>
  close: () => Promise<void>
}

/** What the bytes of a tar are read from. */
export interface ByteSource {
  size: number
  read: (
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
  ) => Promise<{ bytesRead: number }>
  close: () => Promise<void>
}

/** The size of the pieces that `read` gives, in bytes: large reads cost less per byte. */
const pieceBytes = 256 * 1024
/** Pieces in use at once; fresh ones would let 64 MiB of garbage pile up between collections. */
const pieceCount = 17

/** Files in a folder and below; links may lead to other files of the folder. */
export async function openFolder(path: string): Promise<Archive> {
  const root = await realpath(path)
  const files = new Map<string, { file: string; size: number }>()
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue
    const listed = join(entry.parentPath, entry.name)
    const name = relative(root, listed)
    const file = await realpath(listed).catch((cause: unknown) => {
      throw new BadArchive(name, 'is a link to nothing', cause)
    })
    if (!file.startsWith(`${root}/`)) throw new BadArchive(name, 'is a link that leaves the folder')
    const stats = await lstat(file)
    if (stats.isDirectory()) continue
    if (!stats.isFile()) throw new BadArchive(name, 'is neither a file nor a folder')
    files.set(name, { file, size: stats.size })
  }
  return {
    path,
    sizeOf: (name) => files.get(name)?.size,
    names: () => files.keys(),
    async *read(name) {
      const { file, size } = found(files.get(name), name)
      const handle = await open(file)
      try {
        yield* pieces(handle, 0, size)
      } finally {
        await handle.close()
      }
    },
    close: async () => {},
  }
}

/**
 * A tar, also a gzipped one, which is unpacked in `folder` first: images list their content in no
 * order that a single pass could follow.
 * @throws BadArchive naming the first entry that no image archive has
 */
export async function openTar(path: string, folder: Folder): Promise<Archive> {
  const given = await open(path)
  try {
    const handle = (await isGzip(given)) ? await spoolGunzipped(given, folder) : given
    if (handle !== given) await given.close()
    const { size } = await handle.stat()
    return await tarArchive(path, {
      size,
      read: async (...part) => handle.read(...part),
      close: async () => handle.close(),
    })
  } catch (error) {
    await given.close()
    throw error
  }
}

/** A tar that is not gzipped. Throws as `openTar` does. */
export async function tarArchive(path: string, source: ByteSource): Promise<Archive> {
  try {
    const { size } = source
    const files = await scanTar(pieces(source, 0, size), size)
    return {
      path,
      sizeOf: (name) => files.get(name)?.size,
      names: () => files.keys(),
      read: (name) => {
        const file = found(files.get(name), name)
        return pieces(source, file.offset, file.size)
      },
      close: source.close,
    }
  } catch (error) {
    await source.close()
    throw error
  }
}

/**
 * `size` bytes of a file from `offset` on; of the pieces holds what holds for `Archive.read`. The
 * handle stays open.
 */
export async function* pieces(
  handle: Pick<ByteSource, 'read'>,
  offset: number,
  size: number,
): AsyncGenerator<Buffer> {
  const ring: Buffer[] = []
  for (let done = 0, turn = 0; done < size; turn = (turn + 1) % pieceCount) {
    const buffer = (ring[turn] ??= Buffer.allocUnsafeSlow(Math.min(pieceBytes, size - done)))
    const length = Math.min(buffer.length, size - done)
    const { bytesRead } = await handle.read(buffer, 0, length, offset + done)
    if (bytesRead === 0) throw new Error('the archive became shorter while it was read')
    done += bytesRead
    yield buffer.subarray(0, bytesRead)
  }
}

async function isGzip(handle: FileHandle): Promise<boolean> {
  const magic = Buffer.alloc(2)
  await handle.read(magic, 0, 2, 0)
  return magic.equals(Buffer.from([0x1f, 0x8b]))
}

function found<T>(file: T | undefined, name: string): T {
  if (file === undefined) throw new BadArchive(checkedPath(name), 'is missing')
  return file
}

/** The whole of a small file. Throws BadArchive where it is missing or larger than `limit` bytes. */
export async function readSmall(archive: Archive, name: string, limit: number): Promise<Buffer> {
  const size = archive.sizeOf(name)
  if (size !== undefined && size > limit) {
    throw new BadArchive(name, `has ${size} bytes, which is more than the ${limit} it may have`)
  }
  const copies: Buffer[] = []
  for await (const piece of archive.read(name)) copies.push(Buffer.from(piece))
  return Buffer.concat(copies)
}
