// A stored file that is open, and its readers: the descriptor closes once nobody needs it.
import { close, read, readSync, statSync } from 'node:fs'
import { promisify } from 'node:util'
import { GatewayError } from '../../errors.ts'
import { hasherFor, type Digest } from '../../oci/digest.ts'
import type { Large } from '../cache.ts'

const readAsync = promisify(read)

export interface OpenFile {
  digest: Digest
  mediaType: string
  fd: number
  size: number
  mtime: number
  inode: number
  /** Readers, and reads under way. */
  users: number
  /** Nobody new will get it: the last user closes it. */
  isDropped: boolean
  /** So many bytes from the start were in the page cache at `warmAt`. */
  warm: number
  warmAt: number
}

/** For so long what was read is taken to be in the page cache, ms. */
const warmFor = 60_000
const pieceBytes = 1024 * 1024

/** @param onUnreadable called before a read fails because the file system cannot read */
export function readerOf(file: OpenFile, onUnreadable: (error: unknown) => void): Large {
  const { digest, mediaType, size } = file
  let isClosed = false
  file.users += 1

  async function readCold(buffer: Buffer, position: number, length: number): Promise<number> {
    file.users += 1
    try {
      const { bytesRead } = await readAsync(file.fd, buffer, 0, length, position)
      noteWarm(file, position, bytesRead)
      return checked(bytesRead)
    } catch (error) {
      throw failed(error)
    } finally {
      leave(file)
    }
  }

  function readWarm(buffer: Buffer, position: number, length: number): number {
    try {
      return checked(readSync(file.fd, buffer, 0, length, position))
    } catch (error) {
      throw failed(error)
    }
  }

  function failed(error: unknown): unknown {
    if (error instanceof GatewayError) return error
    onUnreadable(error)
    return new GatewayError('UNAVAILABLE', 'a cached file cannot be read; ask again', {
      cause: error,
      reason: 'cache_damaged',
    })
  }

  return {
    kind: 'large',
    digest,
    mediaType,
    size,
    read(buffer, position) {
      if (position >= size) return 0
      const length = Math.min(buffer.length, size - position)
      if (!isWarm(file, position + length)) return readCold(buffer, position, length)
      return readWarm(buffer, position, length)
    },
    close() {
      if (isClosed) return
      isClosed = true
      leave(file)
    },
  }
}

/** No reader will be added: closes it now, or with the last reader. */
export function drop(file: OpenFile): void {
  file.isDropped = true
  if (file.users === 0) closeLogged(file.fd)
}

/** Whether it is still the file at that path. */
export function isInPlace(
  path: string,
  { inode, size, mtime }: Pick<OpenFile, 'inode' | 'size' | 'mtime'>,
): boolean {
  try {
    const stat = statSync(path, { throwIfNoEntry: false })
    return stat?.ino === inode && stat.size === size && stat.mtimeMs === mtime
  } catch {
    // Whoever opens it will be told why.
    return false
  }
}

export function warm(file: OpenFile): void {
  file.warm = file.size
  file.warmAt = performance.now()
}

/** The hash of all that is in the file, in hex; undefined where it is not wanted any more. */
export async function hashOf(
  fd: number,
  digest: Digest,
  isOver: () => boolean = () => false,
): Promise<string | undefined> {
  const hash = hasherFor(digest)
  const piece = Buffer.allocUnsafeSlow(pieceBytes)
  for (let position = 0; !isOver();) {
    const { bytesRead } = await readAsync(fd, piece, 0, pieceBytes, position)
    if (bytesRead === 0) return hash.digest('hex')
    hash.update(piece.subarray(0, bytesRead))
    position += bytesRead
  }
  return undefined
}

function leave(file: OpenFile): void {
  file.users -= 1
  if (file.isDropped && file.users === 0) closeLogged(file.fd)
}

/** A descriptor that was only read has nothing to lose. */
function closeLogged(fd: number): void {
  close(fd, () => undefined)
}

function isWarm(file: OpenFile, end: number): boolean {
  return end <= file.warm && performance.now() - file.warmAt < warmFor
}

/** Only what is warm from the start on counts, which is how clients read. */
function noteWarm(file: OpenFile, position: number, length: number): void {
  const now = performance.now()
  if (position === 0 || now - file.warmAt > warmFor) file.warm = position === 0 ? file.warm : 0
  if (position > file.warm) return
  file.warm = Math.max(file.warm, position + length)
  file.warmAt = now
}

/** There is something to read, unless somebody has shortened the file: 0 would look like the end. */
export function checked(bytesRead: number): number {
  if (bytesRead > 0) return bytesRead
  throw new GatewayError('UNAVAILABLE', 'a cached file became shorter while it was read; ask again')
}
