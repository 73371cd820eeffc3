// The readers of a growing file, one for each client: woken together, and the slowest of them known.
import { GatewayError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'
import type { Large } from '../cache.ts'
import type { FarReads } from './far-reads.ts'
import type { Growth } from './growth.ts'
import { createReader, type Reader } from './reader.ts'

export interface Readers {
  /** @param place the repository for which it reads */
  follow: (place: Place) => Large
  /** There is more to read, or the end, or a failure. */
  wake: () => void
  count: () => number
  /** Whether one of them is somebody who waits, or none has come yet. */
  isWaitedFor: () => boolean
  /** Ends those who do; whether there are others, who have time. */
  breakOffWaiting: (error: GatewayError) => boolean
  /** Where the slowest reader is. */
  neededFrom: () => number
  /**
   * Those that are farthest behind lose their places at once, if others wait for more.
   * Returns how many.
   */
  leaveBehind: () => number
}

const mediaType = 'application/octet-stream'

/** @param onLeave called when a reader has left */
export function createReaders(
  digest: Digest,
  growth: () => Growth,
  farReads: FarReads,
  onLeave: () => void,
): Readers {
  const readers = new Set<Reader>()
  let isNew = true
  /** Those of them who have time. */
  const patient = new WeakSet<Reader>()

  function follow(place: Place): Large {
    const reader = createReader(growth, farReads, place)
    const { read, lend, onBroken, isPassedOn } = reader
    readers.add(reader)
    isNew = false
    if (place.isBackground === true) patient.add(reader)
    return {
      kind: 'large',
      digest,
      mediaType,
      get size() {
        return growth().size
      },
      read,
      lend,
      onBroken,
      isPassedOn,
      close() {
        const isOne = readers.delete(reader)
        reader.close()
        if (isOne) onLeave()
      },
    }
  }

  function neededFrom(): number {
    return Math.min(...[...readers].map((reader) => reader.position()))
  }

  return {
    follow,
    wake() {
      const { failure } = growth()
      for (const reader of readers) {
        reader.wake()
        // What was passed on may be as wrong as what has failed.
        if (failure !== undefined && reader.isPassedOn()) reader.breakOff(failure)
      }
    },
    leaveBehind() {
      const slowest = neededFrom()
      const all = [...readers]
      if (!all.some((reader) => reader.isWaiting() && reader.position() > slowest)) return 0
      const behind = all.filter((reader) => reader.position() === slowest)
      for (const reader of behind) readers.delete(reader)
      for (const reader of behind) reader.breakOff(tooSlow())
      growth().file?.tail.moved()
      return behind.length
    },
    count: () => readers.size,
    isWaitedFor() {
      // Asked for every chunk: no list is made of them.
      for (const reader of readers) if (!patient.has(reader)) return true
      return isNew
    },
    breakOffWaiting(error) {
      const waiting = [...readers].filter((reader) => !patient.has(reader))
      if (waiting.length === readers.size) return false
      for (const reader of waiting) readers.delete(reader)
      for (const reader of waiting) reader.breakOff(error)
      return true
    },
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
