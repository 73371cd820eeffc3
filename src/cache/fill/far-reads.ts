// Decides which readers of a download are fetched for by themselves, and how many at once.
import type { Digest } from '../../oci/digest.ts'
import type { OpenUpstream } from '../../oci/origin.ts'
import type { Place } from '../../oci/place.ts'
import { openFarRead, type FarRead } from './far-read.ts'
import type { Growth } from './growth.ts'

/** What one reader has fetched by itself, one part after the other. */
export interface Ahead {
  /**
   * Nothing at `position` has come yet: has it fetched where that is far ahead, and looks again later
   * where it is not far now, or cannot be fetched. `end` is behind the last byte that is wanted.
   */
  look: (position: number, end: number | undefined) => void
  /** Copies what has come so: the number of bytes, 0 for none. */
  take: (buffer: Buffer, position: number) => number
  isFetching: () => boolean
  /** Whether something was taken. */
  isUsed: () => boolean
  /** The reader reads from the download, or no more. */
  leave: () => void
}

/** Returns what a reader in `place` gets; `onBytes`: there is something to take. */
export type FarReads = (place: Place, onBytes: () => void) => Ahead

export interface FarReadsOptions {
  openUpstream: OpenUpstream
  digest: Digest
  /** One has begun. */
  onFarRead: () => void
}

/** At once, for one blob: whoever comes then waits. */
const mostAtOnce = 4
/** For one reader: a request of a thousand ranges is not worth as many requests upstream. */
const mostForOne = 16
const farBytes = 8 * 2 ** 20
/** What the download reaches within this time at its pace is not far, ms. */
const farMs = 3000
/** Before this nobody knows its pace, ms. */
const paceAfter = 1000
/** How often whoever waits looks again, ms. */
const lookAgain = 1000

export function createFarReads(options: FarReadsOptions, growth: () => Growth): FarReads {
  let open = 0
  /** The upstream answers with the whole: it is not asked for parts again. */
  let isRefused = false

  return (place, onBytes) => {
    let far: FarRead | undefined
    let timer: NodeJS.Timeout | undefined
    let left = mostForOne
    let isUsed = false

    function leave(): void {
      clearTimeout(timer)
      if (far === undefined) return
      far.close()
      far = undefined
      open -= 1
    }

    function fetch(from: number, to: number, size: number): FarRead {
      open += 1
      left -= 1
      options.onFarRead()
      const onFailure = (isRefusal: boolean) => {
        isRefused ||= isRefusal
        // It waits as the others do.
        left = 0
        leave()
      }
      return openFarRead({ ...options, place, from, to, size, onBytes, onFailure })
    }

    function look(position: number, end: number | undefined): void {
      if (far?.position() === position) return
      leave()
      const { size } = growth()
      if (size === undefined || isRefused || left === 0 || distanceTo(growth(), position) <= 0) {
        return
      }
      if (open < mostAtOnce && isFar(growth(), position)) far = fetch(position, end ?? size, size)
      else timer = setTimeout(look, lookAgain, position, end)
    }

    return {
      look,
      take(buffer, position) {
        const taken = far?.position() === position ? far.take(buffer) : 0
        isUsed ||= taken > 0
        return taken
      },
      isFetching: () => far !== undefined,
      isUsed: () => isUsed,
      leave,
    }
  }
}

/** Bytes that have to come before those at `position`. */
function distanceTo({ file }: Growth, position: number): number {
  return file === undefined ? 0 : position - file.tail.end()
}

function isFar(growth: Growth, position: number): boolean {
  const distance = distanceTo(growth, position)
  if (distance > farBytes) return true
  const elapsed = performance.now() - (growth.file?.beganAt ?? 0)
  return elapsed > paceAfter && distance > ((position - distance) / elapsed) * farMs
}
