// Who holds what: the statements about links and repositories.
import type { DatabaseSync } from 'node:sqlite'
import type { Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'

/** As what a repository holds a digest. */
export type LinkKind = 'manifest' | 'blob'

export interface Link extends Place {
  digest: Digest
  kind: LinkKind
}

/** What an index knows of them. */
export interface Links {
  linkKinds: (place: Place, digest: Digest) => LinkKind[]
  /** Whether some repository of the upstream holds it. */
  isLinkedBy: (upstream: string, digest: Digest) => boolean
  /** All, those of a repository, or those to a digest. */
  links: (filter?: { place?: Place; digest?: Digest }) => Link[]
  /** Whether it is new. */
  addLink: (place: Place, digest: Digest, kind: LinkKind) => boolean
  /** And the list of referrers that was kept with it. */
  dropLink: (place: Place, digest: Digest) => void
  /** The upstreams of what is known, in no order. */
  upstreams: () => string[]
  /**
   * Looks at `limit` repositories of the upstream at most, in their order from behind `after`.
   * `held`: those with a manifest or a tag; `last`: where to go on, undefined at the end.
   */
  repositories: (
    upstream: string,
    after: string,
    limit: number,
  ) => { held: string[]; last: string | undefined }
}

export function linkQueries(sqlite: DatabaseSync): Links {
  const kinds = sqlite.prepare(
    'SELECT kind FROM link WHERE upstream = ? AND repository = ? AND digest = ?',
  )
  const anyOf = sqlite.prepare('SELECT 1 FROM link WHERE digest = ? AND upstream = ? LIMIT 1')
  const put = sqlite.prepare('INSERT OR IGNORE INTO link VALUES (?, ?, ?, ?)')
  const drop = sqlite.prepare(
    'DELETE FROM link WHERE upstream = ? AND repository = ? AND digest = ?',
  )
  const dropList = sqlite.prepare(
    'DELETE FROM referrers WHERE upstream = ? AND repository = ? AND digest = ?',
  )
  const columns = 'SELECT upstream, repository, digest, kind FROM link'
  const all = sqlite.prepare(columns)
  const at = sqlite.prepare(`${columns} WHERE upstream = ? AND repository = ?`)
  const to = sqlite.prepare(`${columns} WHERE digest = ?`)
  return {
    linkKinds: ({ upstream, repository }, digest) =>
      kinds.all(upstream, repository, digest).map((row) => row['kind'] as LinkKind),
    isLinkedBy: (upstream, digest) => anyOf.get(digest, upstream) !== undefined,
    links({ place, digest } = {}) {
      if (digest !== undefined) return to.all(digest) as unknown as Link[]
      const found = place === undefined ? all.all() : at.all(place.upstream, place.repository)
      return found as unknown as Link[]
    },
    addLink: ({ upstream, repository }, digest, kind) =>
      put.run(upstream, repository, digest, kind).changes > 0,
    dropLink({ upstream, repository }, digest) {
      drop.run(upstream, repository, digest)
      dropList.run(upstream, repository, digest)
    },
    ...repositoryQueries(sqlite),
  }
}

/** Each look-up leads to the next name: a repository costs the same however much it holds. */
function repositoryQueries(sqlite: DatabaseSync): Pick<Links, 'upstreams' | 'repositories'> {
  const next = (column: string, after: string, where = ''): string =>
    `SELECT min(name) FROM (
       SELECT min(${column}) AS name FROM link WHERE ${where} ${column} > ${after}
       UNION ALL SELECT min(${column}) FROM tag WHERE ${where} ${column} > ${after})`
  const upstreams = sqlite.prepare(
    `WITH RECURSIVE found(name) AS (${next('upstream', "''")}
       UNION ALL SELECT (${next('upstream', 'found.name')}) FROM found WHERE name IS NOT NULL)
     SELECT name FROM found WHERE name IS NOT NULL`,
  )
  const repositories = sqlite.prepare(
    `WITH RECURSIVE found(name) AS (${next('repository', '?2', 'upstream = ?1 AND')}
       UNION ALL SELECT (${next('repository', 'found.name', 'upstream = ?1 AND')})
       FROM found WHERE name IS NOT NULL LIMIT ?3)
     SELECT name,
       EXISTS (SELECT 1 FROM tag WHERE upstream = ?1 AND repository = found.name)
       OR EXISTS (SELECT 1 FROM link
         WHERE upstream = ?1 AND repository = found.name AND kind = 'manifest') AS isHeld
     FROM found WHERE name IS NOT NULL`,
  )
  return {
    upstreams: () => upstreams.all().map((row) => row['name'] as string),
    repositories(upstream, after, limit) {
      const rows = repositories.all(upstream, after, limit)
      return {
        held: rows.filter((row) => row['isHeld'] === 1).map((row) => row['name'] as string),
        last: rows.length < limit ? undefined : (rows.at(-1)?.['name'] as string),
      }
    },
  }
}
