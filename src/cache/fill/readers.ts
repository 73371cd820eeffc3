// The readers of a growing file: each at its own offset, waiting where it has caught up.
import { GatewayError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Large } from '../cache.ts'
import type { Tail } from './tail.ts'

/** What the readers have to know of the download, at any moment. */
export interface Growth {
  /** undefined before the upstream has answered. */
  tail: Tail | undefined
  /** Bytes of the whole, as far as they are known. */
  size: number | undefined
  /** All bytes are there, and hash to the digest. */
  isVerified: boolean
  failure: GatewayError | undefined
}

export interface Readers {
  follow: () => Large
  /** There is more to read, or the end, or a failure. */
  wake: () => void
  count: () => number
  /** Where the slowest reader is. */
  neededFrom: () => number
  /**
   * Those that are farthest behind lose their places, if others wait for more: their next read fails.
   * Returns how many.
   */
  leaveBehind: () => number
}

/** Reading, or waiting where it has caught up; left behind, it holds nothing up any more. */
interface Reader {
  position: number
  isBehind: boolean
  waiting?: Waiting | undefined
}

interface Waiting {
  buffer: Buffer
  position: number
  resolve: (bytes: number | Promise<number>) => void
  reject: (error: unknown) => void
}

const mediaType = 'application/octet-stream'

/** @param onLeave called when a reader has left */
export function createReaders(digest: Digest, growth: () => Growth, onLeave: () => void): Readers {
  const readers = new Set<Reader>()

  function follow(): Large {
    const reader: Reader = { position: 0, isBehind: false }
    readers.add(reader)
    return {
      kind: 'large',
      digest,
      mediaType,
      get size() {
        return growth().size
      },
      read(buffer, position) {
        reader.position = position
        if (reader.isBehind) throw tooSlow()
        const read = readNow(growth(), buffer, position)
        if (read === undefined) {
          return new Promise((resolve, reject) => {
            reader.waiting = { buffer, position, resolve, reject }
            growth().tail?.moved()
          })
        }
        passed(reader, read)
        return read
      },
      close() {
        if (!readers.delete(reader)) return
        reader.waiting?.reject(new GatewayError('UNAVAILABLE', 'the reader was closed'))
        growth().tail?.moved()
        onLeave()
      },
    }
  }

  function neededFrom(): number {
    return Math.min(...[...readers].map(({ position }) => position))
  }

  function passed(reader: Reader, read: number | Promise<number>): void {
    if (typeof read !== 'number') return
    reader.position += read
    growth().tail?.moved()
  }

  function wakeOne(reader: Reader, { buffer, position, resolve, reject }: Waiting): void {
    try {
      const read = readNow(growth(), buffer, position)
      if (read === undefined) return
      reader.waiting = undefined
      passed(reader, read)
      resolve(read)
    } catch (error) {
      reader.waiting = undefined
      reject(error)
    }
  }

  return {
    follow,
    wake() {
      for (const reader of readers) {
        if (reader.waiting !== undefined) wakeOne(reader, reader.waiting)
      }
    },
    leaveBehind() {
      const slowest = neededFrom()
      const all = [...readers]
      const isAwaited = all.some(
        ({ waiting, position }) => waiting !== undefined && position > slowest,
      )
      if (!isAwaited) return 0
      const behind = all.filter(({ position }) => position === slowest)
      for (const reader of behind) {
        reader.isBehind = true
        readers.delete(reader)
      }
      growth().tail?.moved()
      return behind.length
    },
    count: () => readers.size,
    neededFrom,
  }
}

function tooSlow(): GatewayError {
  return new GatewayError(
    'UNAVAILABLE',
    'the cache cannot store, and others cannot wait for a reader so slow; ask for the rest',
    { reason: 'slow_reader' },
  )
}

/** undefined: the bytes at `position` have yet to come, or to be verified. */
function readNow(
  { tail, size, isVerified, failure }: Growth,
  buffer: Buffer,
  position: number,
): number | Promise<number> | undefined {
  if (failure !== undefined) throw failure
  if (tail === undefined) return undefined
  const end = tail.end()
  // The last byte is withheld: nobody completes what is not verified.
  const limit = isVerified || (size !== undefined && end < size) ? end : end - 1
  if (position >= limit) return isVerified ? 0 : undefined
  if (tail.isGone(position)) {
    throw new GatewayError(
      'UNAVAILABLE',
      'the cache cannot store, and this part has gone by; ask again',
    )
  }
  return tail.read(buffer, position, limit)
}
