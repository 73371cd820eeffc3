// One reader of a growing file: at its own offset, waiting where it has caught up.
import { GatewayError } from '../../errors.ts'
import type { Place } from '../../oci/place.ts'
import type { Large, Loan } from '../cache.ts'
import type { FarReads } from './far-reads.ts'
import type { Growth } from './growth.ts'

/**
 * Reading, or waiting: for the download where it has caught up, or for what is fetched for it by itself
 * where it is far ahead; broken off, it holds nothing up any more.
 */
export interface Reader extends Required<
  Pick<Large, 'read' | 'lend' | 'onBroken' | 'isPassedOn' | 'close'>
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
  /** Whether it has been told what it waits for. */
  look: () => boolean
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

  function lendNext(end: number | undefined): Loan | false | undefined {
    const limit = limitAt(growth(), at)
    if (limit === undefined) return ahead.isFetching() ? false : undefined
    const loan = growth().file?.tail.lend(at, Math.min(limit, end ?? limit))
    if (loan === undefined) return false
    ahead.leave()
    at += loan.bytes.length
    moved()
    return loan
  }

  /** What `take` gives, now or when there is something to take. */
  function taken<T>(
    take: () => T | Promise<T> | undefined,
    position: number,
    end: number | undefined,
  ): T | Promise<T> {
    at = position
    if (broken !== undefined) throw broken
    const now = take()
    if (now !== undefined) return now
    return new Promise((resolve, reject) => {
      const look = () => {
        const later = take()
        if (later !== undefined) resolve(later)
        return later !== undefined
      }
      waiting = { look, reject }
      ahead.look(position, end)
    })
  }

  function wake(): void {
    if (waiting === undefined) return
    const { look, reject } = waiting
    try {
      if (look()) waiting = undefined
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
    read: (buffer, position, end) => taken(() => readNext(buffer), position, end),
    lend: (position, end) => taken(() => lendNext(end), position, end),
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
  growth: Growth,
  buffer: Buffer,
  position: number,
): number | Promise<number> | undefined {
  const limit = limitAt(growth, position)
  if (limit === undefined || limit === position) return limit === undefined ? undefined : 0
  return growth.file?.tail.read(buffer, position, limit)
}

/**
 * Offset behind what can be read from `position` on, which it is itself at the end; undefined: those bytes have yet to
 * come, or to be verified.
 */
function limitAt(
  { file, size, isVerified, failure }: Growth,
  position: number,
): number | undefined {
  if (failure !== undefined) throw failure
  if (file === undefined) return undefined
  const { tail } = file
  const end = tail.end()
  // The last byte is withheld: nobody completes what is not verified.
  const limit = isVerified || (size !== undefined && end < size) ? end : end - 1
  if (position >= limit) return isVerified ? position : undefined
  if (tail.isGone(position)) {
    throw new GatewayError(
      'UNAVAILABLE',
      'the cache cannot store, and this part has gone by; ask again',
    )
  }
  return limit
}
