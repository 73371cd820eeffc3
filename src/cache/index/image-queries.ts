// What the index says of images: names for content, what stands by itself, what is below it, and pins.
import type { DatabaseSync } from 'node:sqlite'
import type { Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'

/** How an image is called: a tag, or a digest (with a colon, as no tag has). */
export interface Reference extends Place {
  reference: string
}

/** Who wants it kept: people, by command; or the list of what a site must hold. */
export type PinOwner = 'operator' | 'shelf'

/** How content stands: below other content that is there, by itself, or by itself and to be kept. */
export type Standing = 'below' | 'free' | 'kept'

/** Stored content that stands by itself. Times are milliseconds since 1970. */
export interface Root {
  digest: Digest
  accessed: number
}

export interface NamedRow extends Reference {
  /** Of the stored bytes. */
  digest: Digest
  mediaType: string
  created: number
  accessed: number
}

export interface BlobRow {
  digest: Digest
  mediaType: string
  size: number
  created: number
  accessed: number
  standing: Standing
}

export interface Part {
  digest: Digest
  /** Bytes, undefined where it is not there. */
  size: number | undefined
}

export interface ImageQueries {
  /** All content: its bytes, and how many. */
  holding: () => { bytes: number; entries: number }
  /** Bytes of all that a pin keeps. */
  pinnedBytes: () => number
  /** What may go, behind `after`, least recently pulled first. */
  oldest: (after: Root | undefined, limit: number) => Root[]
  /** undefined where it is not there. */
  standing: (digest: Digest) => Standing | undefined
  /** It refers to what is pinned, and stays as long. */
  keepWithSubject: (digest: Digest) => void
  /** The digest and all that is below it, whether that is there or not. */
  partsOf: (digest: Digest) => Part[]
  /** What is there and lists it, one after the other. */
  holdersOf: (digest: Digest) => Iterable<Digest>
  /** Tags of stored content, behind `after`, in the order of their names. */
  taggedAfter: (after: Reference | undefined, limit: number) => NamedRow[]
  /** Untagged roots, by repository: what is linked as a manifest and has no tag there. */
  untaggedAfter: (after: Reference | undefined, limit: number) => NamedRow[]
  /** The names by which the stored bytes are known, pinned or not. */
  namesOf: (digest: Digest) => Reference[]
  isTagged: (digest: Digest) => boolean
  /** The digest of the stored bytes that a name means. */
  storedAs: (name: Reference) => Digest | undefined
  blobsAfter: (after: Digest | undefined, limit: number) => BlobRow[]

  pins: () => (Reference & { owner: PinOwner })[]
  pinners: (name: Reference) => PinOwner[]
  pin: (name: Reference, owner: PinOwner) => void
  unpin: (name: Reference, owner: PinOwner) => void
}

const standings: readonly Standing[] = ['below', 'free', 'kept']

/** The digest of the bytes that `value` names: signed manifests (schema 1) have another than theirs. */
function bytesOf(value: string): string {
  return `coalesce((SELECT child FROM edge WHERE parent = ${value} AND kind = 'signed'), ${value})`
}

const columns = 'content.media_type AS mediaType, content.created, content.accessed'

export function imageQueries(sqlite: DatabaseSync): ImageQueries {
  return {
    ...rootQueries(sqlite),
    ...nameQueries(sqlite),
    ...pinQueries(sqlite),
  }
}

type RootQueries = Pick<
  ImageQueries,
  | 'holding'
  | 'pinnedBytes'
  | 'oldest'
  | 'standing'
  | 'keepWithSubject'
  | 'partsOf'
  | 'holdersOf'
  | 'blobsAfter'
>

function rootQueries(sqlite: DatabaseSync): RootQueries {
  const holding = sqlite.prepare('SELECT bytes, entries FROM holding')
  const pinned = sqlite.prepare(
    `WITH RECURSIVE part (digest) AS (
       SELECT digest FROM content INDEXED BY content_kept WHERE root = 2
       UNION SELECT child FROM part JOIN edge ON edge.parent = part.digest AND edge.kind = 'child')
     SELECT coalesce(sum(size), 0) AS bytes FROM part JOIN content USING (digest)`,
  )
  const oldest = sqlite.prepare(
    `SELECT digest, accessed FROM content INDEXED BY content_oldest
     WHERE root = 1 AND (accessed, digest) > (?, ?) ORDER BY accessed, digest LIMIT ?`,
  )
  const root = sqlite.prepare('SELECT root FROM content WHERE digest = ?')
  const keep = sqlite.prepare('UPDATE content SET root = 2 WHERE digest = ? AND root = 1')
  const parts = sqlite.prepare(
    `WITH RECURSIVE part (digest) AS (SELECT ? UNION
       SELECT child FROM part JOIN edge ON edge.parent = part.digest AND edge.kind = 'child')
     SELECT part.digest, content.size FROM part LEFT JOIN content USING (digest)`,
  )
  const holders = sqlite.prepare(
    `SELECT edge.parent FROM edge CROSS JOIN content ON content.digest = edge.parent
     WHERE edge.child = ? AND edge.kind = 'child'`,
  )
  const blobs = sqlite.prepare(
    `SELECT digest, size, root, ${columns} FROM content WHERE digest > ? ORDER BY digest LIMIT ?`,
  )
  return {
    holding: () => ({ ...holding.get() }) as { bytes: number; entries: number },
    pinnedBytes: () => Number(pinned.get()?.['bytes']),
    oldest: (after, limit) =>
      oldest.all(after?.accessed ?? -1, after?.digest ?? '', limit) as unknown as Root[],
    standing(digest) {
      const found = root.get(digest)
      return found && standings[Number(found['root'])]
    },
    keepWithSubject: (digest) => void keep.run(digest),
    partsOf: (digest) =>
      parts.all(digest).map((row) => ({
        digest: row['digest'] as Digest,
        size: (row['size'] as number | null) ?? undefined,
      })),
    *holdersOf(digest) {
      for (const row of holders.iterate(digest)) yield row['parent'] as Digest
    },
    blobsAfter: (after, limit) =>
      blobs.all(after ?? '', limit).map(({ root, ...row }) => ({
        ...(row as unknown as Omit<BlobRow, 'standing'>),
        standing: standings[Number(root)] ?? 'free',
      })),
  }
}

type NameQueries = Pick<
  ImageQueries,
  'taggedAfter' | 'untaggedAfter' | 'namesOf' | 'isTagged' | 'storedAs'
>

function nameQueries(sqlite: DatabaseSync): NameQueries {
  const tagged = sqlite.prepare(
    `SELECT tag.upstream, tag.repository, tag.name AS reference, content.digest, ${columns}
     FROM tag CROSS JOIN content ON content.digest = ${bytesOf('tag.digest')}
     WHERE (tag.upstream, tag.repository, tag.name) > (?, ?, ?)
     ORDER BY tag.upstream, tag.repository, tag.name LIMIT ?`,
  )
  const hasTag = `EXISTS (SELECT 1 FROM tag WHERE tag.digest = link.digest
    AND tag.upstream = link.upstream AND tag.repository = link.repository)`
  const untagged = sqlite.prepare(
    `SELECT link.upstream, link.repository, link.digest AS reference, content.digest, ${columns}
     FROM link CROSS JOIN content ON content.digest = ${bytesOf('link.digest')}
     WHERE (link.upstream, link.repository, link.digest) > (?, ?, ?) AND link.kind = 'manifest'
       AND content.root > 0 AND NOT ${hasTag}
     ORDER BY link.upstream, link.repository, link.digest LIMIT ?`,
  )
  const named = `(SELECT ?1 UNION ALL SELECT parent FROM edge WHERE child = ?1 AND kind = 'signed')`
  const names = sqlite.prepare(
    `SELECT upstream, repository, name AS reference FROM tag WHERE digest IN ${named}
     UNION ALL SELECT upstream, repository, digest FROM link
     WHERE digest IN ${named} AND kind = 'manifest' AND NOT ${hasTag}`,
  )
  const anyTag = sqlite.prepare(`SELECT 1 FROM tag WHERE digest IN ${named} LIMIT 1`)
  const byTag = sqlite.prepare(
    `SELECT ${bytesOf('digest')} AS digest FROM tag
     WHERE upstream = ? AND repository = ? AND name = ?`,
  )
  const byDigest = sqlite.prepare(
    `SELECT ${bytesOf('digest')} AS digest FROM link
     WHERE upstream = ? AND repository = ? AND digest = ? AND kind = 'manifest'`,
  )
  return {
    taggedAfter: (after, limit) => tagged.all(...keyOf(after), limit) as unknown as NamedRow[],
    untaggedAfter: (after, limit) => untagged.all(...keyOf(after), limit) as unknown as NamedRow[],
    namesOf: (digest) => names.all(digest) as unknown as Reference[],
    isTagged: (digest) => anyTag.get(digest) !== undefined,
    storedAs({ upstream, repository, reference }) {
      const query = reference.includes(':') ? byDigest : byTag
      return query.get(upstream, repository, reference)?.['digest'] as Digest | undefined
    },
  }
}

function pinQueries(
  sqlite: DatabaseSync,
): Pick<ImageQueries, 'pins' | 'pinners' | 'pin' | 'unpin'> {
  const all = sqlite.prepare('SELECT * FROM pin ORDER BY upstream, repository, reference, owner')
  const by = sqlite.prepare(
    'SELECT owner FROM pin WHERE upstream = ? AND repository = ? AND reference = ?',
  )
  const add = sqlite.prepare('INSERT OR IGNORE INTO pin VALUES (?, ?, ?, ?)')
  const drop = sqlite.prepare(
    'DELETE FROM pin WHERE upstream = ? AND repository = ? AND reference = ? AND owner = ?',
  )
  return {
    pins: () => all.all() as unknown as (Reference & { owner: PinOwner })[],
    pinners: (name) => by.all(...keyOf(name)).map((row) => row['owner'] as PinOwner),
    pin: (name, owner) => void add.run(...keyOf(name), owner),
    unpin: (name, owner) => void drop.run(...keyOf(name), owner),
  }
}

function keyOf(name: Reference | undefined): [string, string, string] {
  return name === undefined ? ['', '', ''] : [name.upstream, name.repository, name.reference]
}
