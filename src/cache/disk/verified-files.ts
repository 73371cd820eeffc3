// Remembers which stored files were hashed as a whole, by this process and lately: bits rot, and
// neither size nor time tell.
import { LRUCache } from 'lru-cache'
import type { Digest } from '../../oci/digest.ts'
import type { OpenFile } from './open-file.ts'

export interface VerifiedFiles {
  /** It has to be hashed again, at the next read of all of it. */
  isDue: (file: OpenFile) => boolean
  add: (file: Pick<OpenFile, 'digest' | 'inode' | 'mtime'>) => void
}

/** What is forgotten is only hashed once more. */
const most = 50_000

/** @param every ms */
export function createVerifiedFiles(every: number, now: () => number): VerifiedFiles {
  const known = new LRUCache<Digest, { at: number; inode: number; mtime: number }>({ max: most })
  return {
    isDue({ digest, inode, mtime }) {
      const found = known.get(digest)
      if (found?.inode !== inode || found.mtime !== mtime) return true
      const age = now() - found.at
      return age < 0 || age >= every
    },
    add: ({ digest, inode, mtime }) => void known.set(digest, { at: now(), inode, mtime }),
  }
}
