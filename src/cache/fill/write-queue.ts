// Writes to one file that are under way, each at its own offset.
import { write } from 'node:fs'

type Done = (error: NodeJS.ErrnoException | null) => void

export interface WriteQueue {
  /** The part must not change until `done`. */
  write: (part: Buffer, position: number, done: Done) => void
  /** Writes under way. */
  length: () => number
  /** Resolves once there is none. */
  settled: () => Promise<void>
}

export function createWriteQueue(fd: number): WriteQueue {
  const waiting: (() => void)[] = []
  let length = 0
  return {
    write(part, position, done) {
      length += 1
      writeAll(fd, part, position, (error) => {
        length -= 1
        done(error)
        if (length === 0) for (const resolve of waiting.splice(0)) resolve()
      })
    },
    length: () => length,
    settled: async () =>
      length === 0 ? undefined : new Promise((resolve) => void waiting.push(resolve)),
  }
}

/** A file takes less than it is given where the disk is nearly full. */
function writeAll(fd: number, part: Buffer, position: number, done: Done): void {
  write(fd, part, 0, part.length, position, (error, written) => {
    if (error !== null || written === part.length) done(error)
    else writeAll(fd, part.subarray(written), position + written, done)
  })
}
