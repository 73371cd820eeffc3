// What the index says of single contents: what their files are, and when they were asked for.
import type { DatabaseSync } from 'node:sqlite'
import type { Digest } from '../../oci/digest.ts'
import { runTransaction } from './database.ts'

/** What is known of one file of the store. */
export interface ContentFacts {
  mediaType: string
  /** Bytes. */
  size: number
  /** As the file system has it, milliseconds. */
  mtime: number
  /** Milliseconds since 1970. */
  created: number
  accessed: number
}

export interface ContentQueries {
  content: (digest: Digest) => ContentFacts | undefined
  /** Those whose digest begins so, sorted. */
  contents: (prefix?: string) => (ContentFacts & { digest: Digest })[]
  addContent: (
    digest: Digest,
    facts: Pick<ContentFacts, 'mediaType' | 'size' | 'mtime'>,
    at?: number,
  ) => void
  /** Its file is gone; links, tags and edges stay, as the upstream still has it. */
  dropContent: (digest: Digest) => void
  /**
   * It was removed: forgets what it refers to, too. Whether it is still what was to be removed, by the
   * time of its file: it may have been fetched again.
   */
  dropStored: (digest: Digest, mtime: number) => boolean
  touchContents: (accessed: ReadonlyMap<Digest, number>) => void
}

/** Whatever lists one manifest. */
const mostTouchedAbove = 100

export function contentQueries(sqlite: DatabaseSync): ContentQueries {
  const columns = 'media_type AS mediaType, size, mtime, created, accessed'
  const get = sqlite.prepare(`SELECT ${columns} FROM content WHERE digest = ?`)
  const all = sqlite.prepare(
    `SELECT digest, ${columns} FROM content WHERE digest >= ?1 AND digest < ?1 || '~' ORDER BY digest`,
  )
  const put = sqlite.prepare(
    `INSERT INTO content (digest, media_type, size, mtime, created, accessed) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET media_type = excluded.media_type, size = excluded.size,
       mtime = excluded.mtime, accessed = max(accessed, excluded.accessed)`,
  )
  const drop = sqlite.prepare('DELETE FROM content WHERE digest = ?')
  const touch = sqlite.prepare(
    `UPDATE content SET accessed = max(accessed, ?1) WHERE digest IN
       (SELECT ?2 UNION ALL SELECT child FROM edge WHERE parent = ?2 AND kind = 'signed')`,
  )
  // An image is pulled by any manifest of it; and what refers to one goes with it.
  const touchAbove = sqlite.prepare(
    `UPDATE content SET accessed = max(accessed, ?1) WHERE digest IN
       (SELECT parent FROM edge WHERE child = ?2 LIMIT ${mostTouchedAbove})
     AND EXISTS (SELECT 1 FROM edge WHERE parent = ?2)`,
  )
  const dropStored = sqlite.prepare('DELETE FROM content WHERE digest = ? AND mtime = ?')
  const dropEdges = sqlite.prepare(
    `DELETE FROM edge WHERE parent IN
       (SELECT ?1 UNION ALL SELECT parent FROM edge WHERE child = ?1 AND kind = 'signed')`,
  )
  return {
    content: (digest) => get.get(digest) as ContentFacts | undefined,
    contents: (prefix = '') => all.all(prefix) as unknown as (ContentFacts & { digest: Digest })[],
    addContent: (digest, { mediaType, size, mtime }, at = Date.now()) =>
      void put.run(digest, mediaType, size, mtime, at, at),
    dropContent: (digest) => void drop.run(digest),
    dropStored(digest, mtime) {
      if (dropStored.run(digest, mtime).changes === 0) return false
      dropEdges.run(digest)
      return true
    },
    touchContents: (accessed) =>
      runTransaction(sqlite, () => {
        for (const [digest, at] of accessed) {
          touch.run(at, digest)
          touchAbove.run(at, digest)
        }
      }),
  }
}
