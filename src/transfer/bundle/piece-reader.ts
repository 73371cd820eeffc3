// Reads the pieces of a bundle as one file, once all of them are there and hash right.
import { createHash } from 'node:crypto'
import { open, readFile, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { systemCode } from '../../errors.ts'
import type { ByteSource } from '../archive/archive.ts'
import { BadArchive } from '../bad-archive.ts'
import { parsePieceList, pieceListSuffix, type BundlePiece } from './piece-list.ts'

/** @param list the path of a list of pieces; throws BadArchive naming the pieces that are missing or wrong */
export async function openPieces(list: string): Promise<ByteSource> {
  const name = basename(list)
  const pieces = parsePieceList(
    await readFile(list, 'utf8'),
    name.slice(0, -pieceListSuffix.length),
  )
  if (pieces === undefined) throw new BadArchive(name, 'is no list of the pieces of a bundle')
  const handles: FileHandle[] = []
  try {
    const missing: string[] = []
    for (const piece of pieces) {
      const handle = await openIfThere(join(dirname(list), piece.name))
      if (handle === undefined) missing.push(piece.name)
      else handles.push(handle)
    }
    if (missing.length > 0) {
      throw new BadArchive(missing.join(', '), `missing: ${name} lists ${pieces.length} pieces`)
    }
    for (const [at, handle] of handles.entries()) await check(handle, pieces[at], name)
    return await joined(handles)
  } catch (error) {
    await Promise.all(handles.map(async (handle) => handle.close()))
    throw error
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw new BadArchive(basename(path), `cannot be read (${systemCode(error)})`, error)
  }
}

async function check(handle: FileHandle, piece: BundlePiece | undefined, list: string) {
  const hash = createHash('sha256')
  await pipeline(handle.createReadStream({ start: 0, autoClose: false }), hash)
  if (piece === undefined || hash.digest('hex') === piece.sha256) return
  throw new BadArchive(piece.name, `does not hash to what ${list} says: copy it again`)
}

async function joined(handles: readonly FileHandle[]): Promise<ByteSource> {
  const parts: { handle: FileHandle; start: number; end: number }[] = []
  let size = 0
  for (const handle of handles) {
    const { size: length } = await handle.stat()
    parts.push({ handle, start: size, end: size + length })
    size += length
  }
  return {
    size,
    async read(buffer, offset, length, position) {
      const part = parts.find(({ end }) => position < end)
      if (part === undefined) return { bytesRead: 0 }
      const most = Math.min(length, part.end - position)
      return part.handle.read(buffer, offset, most, position - part.start)
    },
    async close() {
      await Promise.all(handles.map(async (handle) => handle.close()))
    },
  }
}
