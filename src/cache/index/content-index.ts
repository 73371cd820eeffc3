// What is known about the content: where it is from, which tags mean it, what refers to it.
import type { DatabaseSync } from 'node:sqlite'
import type { Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'
import { contentQueries, type ContentQueries } from './content-queries.ts'
import { lacksFacts, openDatabase, runTransaction, type Database, type Made } from './database.ts'
import { imageQueries, type ImageQueries } from './image-queries.ts'
import { linkQueries, type Links } from './links.ts'
import { createJournal } from './journal/journal.ts'
import { entriesIn, restore } from './journal/journal-rows.ts'
import { withJournal } from './journal/journaled-index.ts'
import { foldersIn } from '../disk/folder.ts'

export interface TagFacts {
  digest: Digest
  /** When the upstream last said so, milliseconds since 1970. */
  checkedAt: number
}

/** How a manifest refers to another digest. */
export type EdgeKind =
  | 'child'
  | 'subject'
  /** To the digest of the bytes, of a manifest whose own digest is that of what is signed in them. */
  | 'signed'

/** All calls are synchronous and throw what SQLite says, such as a full disk. */
export interface Index extends ContentQueries, ImageQueries, Links {
  /** It lives in memory only, because the folder cannot be written. */
  isVolatile: boolean
  /** It is empty, and in memory, until one that is made in the background takes its place. */
  isProvisional: boolean
  /** It has just been made, from nothing or from the journal. */
  made: Made | undefined
  /** Whether its file is still the one in the folder. */
  isInPlace: () => boolean
  /** It was made anew: what the files of content tell is yet to be read from them. */
  lacksFacts: () => boolean
  /** They have been read. */
  hasFacts: () => void

  tag: (place: Place, name: string) => TagFacts | undefined
  tags: () => (Place & TagFacts & { name: string })[]
  /** Names, sorted. */
  tagsOf: (place: Place) => string[]
  setTag: (place: Place, name: string, digest: Digest, checkedAt?: number) => void
  dropTag: (place: Place, name: string) => void

  addEdges: (parent: Digest, children: readonly Digest[], kind?: EdgeKind) => void
  childrenOf: (parent: Digest, kind?: EdgeKind) => Digest[]
  parentsOf: (child: Digest, kind?: EdgeKind) => Digest[]

  /** The list of referrers as it was kept. */
  referrers: (place: Place, digest: Digest) => { body: string; checkedAt: number } | undefined
  setReferrers: (place: Place, digest: Digest, body: string, checkedAt?: number) => void

  /** All of `work` or nothing; not to be nested. */
  transaction: (work: () => void) => void
  /** Whether another process has written since the last call. */
  hasChanged: () => boolean
  /** Makes what was written survive a power cut. Resolves to whether there was something to do. */
  sync: () => Promise<boolean>
  /** Makes it durable as well. */
  close: () => void
}

export interface IndexOptions {
  /** How long a statement waits, and everything with it, while another process writes; ms. */
  patience?: number
  /** Bytes of a journal that the index is made anew from at once. */
  mostAtOnce?: number
  /** What the journal has from this byte on came true while another index was in use. */
  replayFrom?: number | undefined
  /** False where another process looks after the journal. */
  isKeeper?: boolean
  /** It is thrown away: nothing is kept for another one to be made of it, and the disk is not waited for. */
  isScratch?: boolean
}

/** Opens the index in the cache folder `dir`, which `openStore` has prepared. */
export function openIndex(dir: string, options: IndexOptions = {}): Index {
  const { patience = 5000, mostAtOnce = Infinity, replayFrom, isKeeper = true } = options
  const folder = foldersIn(dir)
  const database = openDatabase(folder, mostAtOnce)
  const { sqlite, isVolatile, isProvisional } = database
  sqlite.exec(`PRAGMA busy_timeout = ${patience}`)
  if (options.isScratch === true) {
    sqlite.exec('PRAGMA synchronous = OFF')
    return { ...indexOf(database), close: () => sqlite.close() }
  }
  if (replayFrom !== undefined && !isProvisional) {
    runTransaction(sqlite, () => void restore(sqlite, folder.journal, replayFrom))
  }
  const isWhole = !isVolatile && !isProvisional
  const snapshot = isWhole ? () => entriesIn(sqlite) : undefined
  const journal = createJournal(folder, snapshot, isKeeper)
  return withJournal(indexOf(database), journal)
}

function indexOf(database: Database): Index {
  const { sqlite, isVolatile, isProvisional, made, isInPlace, sync, syncNow } = database
  const dataVersion = sqlite.prepare('PRAGMA data_version')
  const applicationId = sqlite.prepare('PRAGMA application_id')
  let seenVersion = dataVersion.get()?.['data_version']
  return {
    isVolatile,
    isProvisional,
    made,
    isInPlace,
    lacksFacts: () => applicationId.get()?.['application_id'] === lacksFacts,
    hasFacts: () => sqlite.exec('PRAGMA application_id = 0'),
    ...contentQueries(sqlite),
    ...linkQueries(sqlite),
    ...tagQueries(sqlite),
    ...edgeQueries(sqlite),
    ...referrersQueries(sqlite),
    ...imageQueries(sqlite),
    transaction: (work) => runTransaction(sqlite, work),
    hasChanged() {
      const version = dataVersion.get()?.['data_version']
      const hasChanged = version !== seenVersion
      seenVersion = version
      return hasChanged
    },
    sync,
    close() {
      try {
        syncNow()
      } finally {
        sqlite.close()
      }
    },
  }
}

type TagQueries = Pick<Index, 'tag' | 'tags' | 'tagsOf' | 'setTag' | 'dropTag'>

function tagQueries(sqlite: DatabaseSync): TagQueries {
  const where = 'WHERE upstream = ? AND repository = ? AND name = ?'
  const get = sqlite.prepare(`SELECT digest, checked_at AS checkedAt FROM tag ${where}`)
  const all = sqlite.prepare(
    `SELECT upstream, repository, name, digest, checked_at AS checkedAt FROM tag
     ORDER BY upstream, repository, name`,
  )
  const names = sqlite.prepare(
    'SELECT name FROM tag WHERE upstream = ? AND repository = ? ORDER BY name',
  )
  const put = sqlite.prepare(
    `INSERT INTO tag VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET digest = excluded.digest,
       checked_at = excluded.checked_at`,
  )
  const drop = sqlite.prepare(`DELETE FROM tag ${where}`)
  return {
    tag: ({ upstream, repository }, name) =>
      get.get(upstream, repository, name) as TagFacts | undefined,
    tags: () => all.all() as unknown as (Place & TagFacts & { name: string })[],
    tagsOf: ({ upstream, repository }) =>
      names.all(upstream, repository).map((row) => row['name'] as string),
    setTag: ({ upstream, repository }, name, digest, checkedAt = Date.now()) =>
      void put.run(upstream, repository, name, digest, checkedAt),
    dropTag: ({ upstream, repository }, name) => void drop.run(upstream, repository, name),
  }
}

type EdgeQueries = Pick<Index, 'addEdges' | 'childrenOf' | 'parentsOf'>

function edgeQueries(sqlite: DatabaseSync): EdgeQueries {
  const put = sqlite.prepare('INSERT OR IGNORE INTO edge VALUES (?, ?, ?)')
  const children = sqlite.prepare('SELECT child FROM edge WHERE parent = ? AND kind = ?')
  const parents = sqlite.prepare('SELECT parent FROM edge WHERE child = ? AND kind = ?')
  return {
    addEdges(parent, digests, kind = 'child') {
      // In the order of the index, which fills pages one after the other.
      for (const child of digests.toSorted()) put.run(parent, child, kind)
    },
    childrenOf: (parent, kind = 'child') =>
      children.all(parent, kind).map((row) => row['child'] as Digest),
    parentsOf: (child, kind = 'child') =>
      parents.all(child, kind).map((row) => row['parent'] as Digest),
  }
}

function referrersQueries(sqlite: DatabaseSync): Pick<Index, 'referrers' | 'setReferrers'> {
  const get = sqlite.prepare(
    `SELECT body, checked_at AS checkedAt FROM referrers
     WHERE upstream = ? AND repository = ? AND digest = ?`,
  )
  const put = sqlite.prepare('INSERT OR REPLACE INTO referrers VALUES (?, ?, ?, ?, ?)')
  return {
    referrers: ({ upstream, repository }, digest) =>
      get.get(upstream, repository, digest) as { body: string; checkedAt: number } | undefined,
    setReferrers: ({ upstream, repository }, digest, body, checkedAt = Date.now()) =>
      void put.run(upstream, repository, digest, body, checkedAt),
  }
}
