// Disk space for what must be read more than once and is of no use afterwards.
import { open, unlink, type FileHandle } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { newTemporary, type Folder } from '../../cache/disk/folder.ts'
import { modes } from '../../cache/disk/private.ts'
import { BadArchive, expansionGuard } from '../bad-archive.ts'

/** An open file without a name: it is gone once it is closed, also after a crash. */
export async function openSpool(folder: Folder): Promise<FileHandle> {
  const path = newTemporary(folder)
  const spool = await open(path, 'wx+', modes.file)
  await unlink(path)
  return spool
}

/** `source` unpacked into a spool. Throws BadArchive where it is no gzip, or a bomb. */
export async function spoolGunzipped(source: FileHandle, folder: Folder): Promise<FileHandle> {
  const spool = await openSpool(folder)
  try {
    const { size } = await source.stat()
    const guard = expansionGuard('the archive itself', size)
    await pipeline(
      source.createReadStream({ start: 0, autoClose: false }),
      createGunzip({ chunkSize: 256 * 1024 }),
      async (expanded: AsyncIterable<Buffer>) => {
        for await (const chunk of expanded) {
          guard(chunk.length)
          await spool.writeFile(chunk)
        }
      },
    )
    return spool
  } catch (error) {
    await spool.close()
    if (!isZlibError(error)) throw error
    throw new BadArchive('the archive itself', 'is no whole gzip file', error)
  }
}

/** What node:zlib says of input that it cannot read. */
export function isZlibError(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /^(Z|ZSTD)_/.test(code)
}
