// How much compressed content may expand before it is taken for a bomb.
import { BadArchive } from './bad-archive.ts'

/** No layer of a real image is small, and expands this much. */
const mostTimes = 200
const alwaysAllowed = 256 * 2 ** 20

/**
 * Counts what comes out of a decompressor; throws BadArchive once it is over 256 MiB and over 200
 * times the `compressed` bytes.
 */
export function expansionGuard(entry: string, compressed: number): (bytes: number) => void {
  let expanded = 0
  return (bytes) => {
    expanded += bytes
    if (expanded > alwaysAllowed && expanded > compressed * mostTimes) {
      throw new BadArchive(
        entry,
        `expands to more than ${mostTimes} times its ${compressed} bytes and is taken for a bomb`,
      )
    }
  }
}
