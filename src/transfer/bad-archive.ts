// What an import refuses, by the name of the offending entry.
import { posix } from 'node:path'

/** Something in an archive or folder is wrong; nothing of the image it belongs to is kept. */
export class BadArchive extends Error {
  override readonly name = 'BadArchive'
  /** The entry as the archive calls it. */
  readonly entry: string

  constructor(entry: string, what: string, cause?: unknown) {
    super(`${entry}: ${what}`, cause === undefined ? {} : { cause })
    this.entry = entry
  }
}

/** The name without `./` before it and `/` behind it; throws BadArchive where it is not below the root. */
export function checkedPath(name: string): string {
  if (name.startsWith('/')) throw new BadArchive(name, 'has an absolute name')
  if (/[\\\0]/.test(name)) throw new BadArchive(name, 'has a backslash or a NUL in its name')
  if (name.split('/').includes('..')) throw new BadArchive(name, 'has a name with .. in it')
  return posix.normalize(name).replace(/\/$/, '')
}

/**
 * The entry that a link leads to: a symbolic link's target is relative to its own folder, a hard
 * link's to the root. Throws BadArchive where it leaves the archive.
 */
export function linkTarget(name: string, target: string, kind: 'symlink' | 'link'): string {
  const from = kind === 'symlink' ? posix.dirname(name) : '.'
  const path = posix.join(from, target)
  if (target.startsWith('/') || path === '..' || path.startsWith('../')) {
    throw new BadArchive(name, `is a link that leaves the archive, to ${target}`)
  }
  return path.replace(/\/$/, '')
}

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
