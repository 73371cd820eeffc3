// Writes a bundle as pieces of a size, such as a stick can carry, and the list of their checksums.
import { createHash, type Hash } from 'node:crypto'
import { open, rename, rm, writeFile, type FileHandle } from 'node:fs/promises'
import { basename } from 'node:path'
import { formatPieceList, pieceListSuffix, pieceName, type BundlePiece } from './piece-list.ts'

/** The bytes of `tar` as `file.001` and so on; they appear once all of them are whole, the list last. */
export async function writePieces(
  tar: AsyncIterable<Buffer>,
  file: string,
  size: number,
): Promise<void> {
  const pieces: (BundlePiece & { path: string; partial: string })[] = []
  let current: { handle: FileHandle; hash: Hash; left: number } | undefined

  async function begin() {
    const path = pieceName(file, pieces.length + 1)
    const partial = `${path}.${process.pid}.partial`
    pieces.push({ name: basename(path), path, partial, sha256: '' })
    return { handle: await open(partial, 'w'), hash: createHash('sha256'), left: size }
  }

  async function end(): Promise<void> {
    const piece = pieces.at(-1)
    if (current === undefined || piece === undefined) return
    piece.sha256 = current.hash.digest('hex')
    await current.handle.sync()
    await current.handle.close()
    current = undefined
  }

  try {
    for await (const chunk of tar) {
      for (let done = 0; done < chunk.length;) {
        current ??= await begin()
        const part = chunk.subarray(done, done + current.left)
        current.hash.update(part)
        await current.handle.writeFile(part)
        current.left -= part.length
        done += part.length
        if (current.left === 0) await end()
      }
    }
    await end()
    for (const { partial, path } of pieces) await rename(partial, path)
    await writeFile(`${file}${pieceListSuffix}`, formatPieceList(pieces))
  } finally {
    await current?.handle.close()
    for (const { partial } of pieces) await rm(partial, { force: true })
  }
}
