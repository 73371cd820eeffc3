// One reader of a growing file: at its own offset, waiting where it has caught up.
import { GatewayError } from '../../errors.ts'
import type { Place } from '../../oci/place.ts'
import type { Large } from '../cache.ts'
import type { FarReads } from './far-reads.ts'
import type { Growth } from './growth.ts'

/**
 * Reading, or waiting: for the download where it has caught up, or for what is fetched for it by itself
 * where it is far ahead; broken off, it holds nothing up any more.
 */
export interface Reader extends Required<
  Pick<Large, 'read' | 'onBroken' | 'isPassedOn' | 'close'>
> {
  position: () => number
  /** It waits for the download. */
  isWaiting: () => boolean
  /** There is more to read, or the end, or a failure. */
  wake: () => void
  /** Ends it at once, also one that is not reading. */
  breakOff: (error: GatewayError) => void
}

interface Waiting {
  buffer: Buffer
  resolve: (bytes: number | Promise<number>) => void
  reject: (error: unknown) => void
}

/** @param place the repository for which it reads */
export function createReader(growth: () => Growth, farReads: FarReads, place: Place): Reader {
  const ahead = farReads(place, wake)
  let at = 0
  let waiting: Waiting | undefined
  let broken: GatewayError | undefined
  let onBroken: ((error: GatewayError) => void) | undefined

  const moved = () => growth().file?.tail.moved()

  /** From the download where it has come so far, else from what is fetched for this one. */
  function readNext(buffer: Buffer): number | Promise<number> | undefined {
    const come = readNow(growth(), buffer, at)
    if (come !== undefined) ahead.leave()
    const read = come ?? ahead.take(buffer, at)
    if (typeof read !== 'number') return read
    at += read
    moved()
    return come === undefined && read === 0 ? undefined : read
  }

  function wake(): void {
    if (waiting === undefined) return
    const { buffer, resolve, reject } = waiting
    try {
      const read = readNext(buffer)
      if (read === undefined) return
      waiting = undefined
      resolve(read)
    } catch (error) {
      waiting = undefined
      ahead.leave()
      reject(error)
    }
  }

  return {
    position: () => at,
    isWaiting: () => waiting !== undefined && !ahead.isFetching(),
    wake,
    read(buffer, position, end) {
      at = position
      if (broken !== undefined) throw broken
      const read = readNext(buffer)
      if (read !== undefined) return read
      return new Promise((resolve, reject) => {
        waiting = { buffer, resolve, reject }
        ahead.look(position, end)
      })
    },
    onBroken: (listener) => void (onBroken = listener),
    isPassedOn: ahead.isUsed,
    breakOff(error) {
      broken = error
      ahead.leave()
      const { reject } = waiting ?? {}
      waiting = undefined
      if (reject === undefined) onBroken?.(error)
      else reject(error)
    },
    close() {
      ahead.leave()
      onBroken = undefined
      waiting?.reject(new GatewayError('UNAVAILABLE', 'the reader was closed'))
      moved()
    },
  }
}

/** undefined: the bytes at `position` have yet to come, or to be verified. */
function readNow(
  { file, size, isVerified, failure }: Growth,
  buffer: Buffer,
  position: number,
): number | Promise<number> | undefined {
  if (failure !== undefined) throw failure
  if (file === undefined) return undefined
  const { tail } = file
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
