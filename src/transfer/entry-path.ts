// Names of archive entries, and where their links lead: nothing may point out of the archive.
import { posix } from 'node:path'
import { BadArchive } from './bad-archive.ts'

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
