// The SQLite database behind the index: its tables, and how it is opened where it cannot be written.
import { closeSync, fsyncSync, openSync, readdirSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { UsageError } from '../../errors.ts'
import { createDurability, type Durability } from './wal-sync.ts'
import type { Folder } from '../disk/folder.ts'
import { createPrivate, makePrivate } from '../disk/private.ts'
import { restore } from './journal/journal-rows.ts'
import { fromFirst, upkeep } from './upkeep.ts'

const schemaVersion = 2
/** `application_id` of an index that was made anew, until the files of content have been read. */
export const lacksFacts = 1
/** How long it may take to open it while another process is writing, ms. */
const openTimeout = 5000

const tables = {
  content: `digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    mtime REAL NOT NULL, created INTEGER NOT NULL, accessed INTEGER NOT NULL,
    root INTEGER NOT NULL DEFAULT 1`,
  link: `upstream TEXT, repository TEXT, digest TEXT, kind TEXT,
    PRIMARY KEY (upstream, repository, digest, kind)`,
  tag: `upstream TEXT, repository TEXT, name TEXT, digest TEXT NOT NULL, checked_at INTEGER NOT NULL,
    PRIMARY KEY (upstream, repository, name)`,
  edge: `parent TEXT, child TEXT, kind TEXT, PRIMARY KEY (parent, child, kind)`,
  pin: `upstream TEXT, repository TEXT, reference TEXT, owner TEXT,
    PRIMARY KEY (upstream, repository, reference, owner)`,
  referrers: `upstream TEXT, repository TEXT, digest TEXT, body TEXT NOT NULL,
    checked_at INTEGER NOT NULL, PRIMARY KEY (upstream, repository, digest)`,
}

const indexes = [
  'link_digest ON link (digest)',
  'tag_digest ON tag (digest)',
  'edge_child ON edge (child)',
]

/** Where there was no index, or none of use. */
export interface Made {
  because: 'damaged' | 'missing'
  /** What the journal had to say. */
  entries: number
}

export interface Database extends Durability {
  sqlite: DatabaseSync
  /** It lives in memory only, because its file cannot be written. */
  isVolatile: boolean
  /** It is empty, and in memory, because the journal is too long to be waited for: see `buildIndex`. */
  isProvisional: boolean
  made: Made | undefined
  /** Whether its file is still the one in the folder. */
  isInPlace: () => boolean
}

/** Up to so many bytes an index is checked before it is used: some 50 ms. */
export const checkedAtOnce = 16 * 2 ** 20

/**
 * Opens or creates `index.db`. A damaged one is put into `quarantine/`, and made anew from the journal.
 * @param mostAtOnce bytes of the journal; with more of them the answer is provisional
 * @throws UsageError `cache.dir` where it was written by a newer version
 */
export function openDatabase(folder: Folder, mostAtOnce: number): Database {
  try {
    return durable(folder, mostAtOnce)
  } catch (error) {
    if (error instanceof UsageError) throw error
    if (!isDamage(error)) return inMemory(folder)
    try {
      setAside(folder)
      const database = durable(folder, mostAtOnce)
      return { ...database, made: { entries: 0, ...database.made, because: 'damaged' } }
    } catch {
      return inMemory(folder)
    }
  }
}

function durable(folder: Folder, mostAtOnce: number): Database {
  createPrivate(folder.index)
  for (const suffix of ['', '-wal', '-shm']) makePrivate(folder.index + suffix)
  const { sqlite, entries, isDone } = openFile(folder, mostAtOnce)
  const { ino } = statSync(folder.index)
  return {
    ...(isDone
      ? { sqlite, ...createDurability(sqlite, folder.index) }
      : memoryWith(() => undefined)),
    isVolatile: false,
    isProvisional: !isDone,
    made: entries === undefined ? undefined : { because: 'missing', entries },
    isInPlace: () => statSync(folder.index, { throwIfNoEntry: false })?.ino === ino,
  }
}

/** In memory; `fill` puts rows into it. */
function memoryWith(fill: (sqlite: DatabaseSync) => void) {
  const sqlite = new DatabaseSync(':memory:')
  createTables(sqlite, () => fill(sqlite))
  return { sqlite, sync: async () => false, syncNow: () => undefined }
}

/** For a folder that cannot be written: SQLite in WAL mode needs to write even to read. */
function inMemory(folder: Folder): Database {
  return {
    ...memoryWith((sqlite) => copyTo(sqlite, folder)),
    isVolatile: true,
    isProvisional: false,
    made: undefined,
    isInPlace: () => true,
  }
}

/** `entries`: those of the journal, where it was made anew; `isDone`: false where that takes too long. */
function openFile(
  folder: Folder,
  mostAtOnce: number,
): { sqlite: DatabaseSync; entries: number | undefined; isDone: boolean } {
  const path = folder.index
  const sqlite = new DatabaseSync(path, { timeout: openTimeout })
  try {
    sqlite.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    const version = Number(sqlite.prepare('PRAGMA user_version').get()?.['user_version'])
    if (version > schemaVersion) {
      const message = `${path} was written by a newer version: update, or use another folder`
      throw new UsageError([{ path: 'cache.dir', message }])
    }
    if (version === 0) {
      const length = statSync(folder.journal, { throwIfNoEntry: false })?.size ?? 0
      if (length <= mostAtOnce) return { sqlite, entries: createFrom(folder, sqlite), isDone: true }
      sqlite.close()
      return { sqlite, entries: 0, isDone: false }
    }
    if (version < schemaVersion) bringForward(sqlite)
    if (statSync(path).size <= checkedAtOnce) assertSound(sqlite)
    return { sqlite, entries: undefined, isDone: true }
  } catch (error) {
    if (sqlite.isOpen) sqlite.close()
    throw error
  }
}

/** Throws as SQLite does where the file is damaged. */
function assertSound(sqlite: DatabaseSync): void {
  const [found] = Object.values(sqlite.prepare('PRAGMA quick_check(1)').get() ?? {})
  if (found !== 'ok') throw Object.assign(new Error(String(found)), { errcode: corrupt })
}

/**
 * Makes at `target` the index of `folder` from its journal, and syncs it. Takes its time: for a thread
 * of its own. Returns the number of entries.
 */
export function buildIndex(folder: Folder, target: string): number {
  createPrivate(target)
  const sqlite = new DatabaseSync(target)
  // Nobody knows of the file yet: one that is broken off is made again.
  sqlite.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF')
  const entries = createFrom(folder, sqlite)
  sqlite.close()
  const fd = openSync(target, 'r')
  fsyncSync(fd)
  closeSync(fd)
  return entries
}

/** All or nothing: an index that is there is complete. Returns the number of entries of the journal. */
function createFrom({ journal, blobs }: Folder, sqlite: DatabaseSync): number {
  // Pages are touched in no order: with the usual 2 MiB most would be written many times.
  sqlite.exec('PRAGMA cache_size = -262144; BEGIN IMMEDIATE')
  const entries = createTables(sqlite, () => restore(sqlite, journal))
  // Of an empty cache there is nothing to read.
  if (readdirSync(blobs).length > 0) sqlite.exec(`PRAGMA application_id = ${lacksFacts}`)
  sqlite.exec('COMMIT; PRAGMA cache_size = -2000')
  return entries
}

/** @param fill puts rows into them, before they are indexed: that is faster */
function createTables<Result>(sqlite: DatabaseSync, fill: () => Result): Result {
  const created = Object.entries(tables).map(
    ([name, columns]) => `CREATE TABLE IF NOT EXISTS ${name} (${columns}) STRICT, WITHOUT ROWID;`,
  )
  sqlite.exec(created.join('\n'))
  const filled = fill()
  const indexed = indexes.map((index) => `CREATE INDEX IF NOT EXISTS ${index};`)
  sqlite.exec([...indexed, upkeep, `PRAGMA user_version = ${schemaVersion}`].join('\n'))
  return filled
}

/** Waits for another process that is doing the same. */
function bringForward(sqlite: DatabaseSync): void {
  sqlite.exec('BEGIN IMMEDIATE')
  const version = Number(sqlite.prepare('PRAGMA user_version').get()?.['user_version'])
  if (version < schemaVersion) {
    sqlite.exec(`${fromFirst} ${upkeep} PRAGMA user_version = ${schemaVersion}`)
  }
  sqlite.exec('COMMIT')
}

function copyTo(sqlite: DatabaseSync, { index, journal }: Folder): void {
  try {
    sqlite.prepare('ATTACH ? AS saved').run(`file:${encodeURI(index)}?immutable=1`)
    for (const name of Object.keys(tables)) {
      sqlite.exec(`INSERT INTO main.${name} SELECT * FROM saved.${name}`)
    }
    sqlite.exec('DETACH saved')
  } catch {
    // Nothing to copy: the content is there, and so is what the journal knows.
    restore(sqlite, journal)
  }
}

const [corrupt, notADatabase] = [11, 26]
/** Sectors that cannot be read, or hold other things than were written: READ, SHORT_READ, DATA, CORRUPTFS. */
const badReads: ReadonlySet<number> = new Set([266, 522, 8202, 8458])

/** Whether SQLite says that the file is of no use any more. */
export function isDamage(error: unknown): boolean {
  const { errcode } = error as { errcode?: number }
  if (errcode === undefined) return false
  return [corrupt, notADatabase].includes(errcode & 0xff) || badReads.has(errcode)
}

/** Keeps it for whoever wants to know. */
export function setAside({ index, quarantine }: Folder): void {
  const time = Date.now()
  renameSync(index, join(quarantine, `index-${time}.db`))
  for (const suffix of ['-wal', '-shm']) {
    try {
      renameSync(index + suffix, join(quarantine, `index-${time}.db${suffix}`))
    } catch {
      // There need not be one.
    }
  }
}

/** All of `work` or nothing; not to be nested. */
export function runTransaction(sqlite: DatabaseSync, work: () => void): void {
  sqlite.exec('BEGIN IMMEDIATE')
  try {
    work()
    sqlite.exec('COMMIT')
  } catch (error) {
    // SQLite itself has rolled back after some errors, a full disk among them.
    if (sqlite.isTransaction) sqlite.exec('ROLLBACK')
    throw error
  }
}
