// The SQLite database behind the index: its tables, and how it is opened where it cannot be written.
import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { UsageError } from '../../errors.ts'
import { createDurability, type Durability } from './wal-sync.ts'
import type { Folder } from '../disk/folder.ts'
import { createPrivate, makePrivate } from '../disk/private.ts'

const schemaVersion = 1
/** How long it may take to open it while another process is writing, ms. */
const openTimeout = 5000

const tables = {
  content: `digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, size INTEGER NOT NULL,
    mtime REAL NOT NULL, created INTEGER NOT NULL, accessed INTEGER NOT NULL`,
  link: `upstream TEXT, repository TEXT, digest TEXT, kind TEXT,
    PRIMARY KEY (upstream, repository, digest, kind)`,
  tag: `upstream TEXT, repository TEXT, name TEXT, digest TEXT NOT NULL, checked_at INTEGER NOT NULL,
    PRIMARY KEY (upstream, repository, name)`,
  edge: `parent TEXT, child TEXT, kind TEXT, PRIMARY KEY (parent, child, kind)`,
  pin: `digest TEXT PRIMARY KEY`,
  referrers: `upstream TEXT, repository TEXT, digest TEXT, body TEXT NOT NULL,
    checked_at INTEGER NOT NULL, PRIMARY KEY (upstream, repository, digest)`,
}

const indexes = [
  'link_digest ON link (digest)',
  'tag_digest ON tag (digest)',
  'edge_child ON edge (child)',
]

export interface Database extends Durability {
  sqlite: DatabaseSync
  /** It lives in memory only, because its file cannot be written. */
  isVolatile: boolean
}

/**
 * Opens or creates `index.db`. A damaged one is put into `quarantine/`: what it knew is asked again.
 * @throws UsageError `cache.dir` where it was written by a newer version
 */
export function openDatabase(folder: Folder): Database {
  try {
    return durable(folder)
  } catch (error) {
    if (error instanceof UsageError) throw error
    if (isDamage(error)) {
      setAside(folder)
      return durable(folder)
    }
    const nothing = { sync: async () => false, syncNow: () => undefined }
    return { sqlite: copyToMemory(folder.index), isVolatile: true, ...nothing }
  }
}

function durable({ index }: Folder): Database {
  createPrivate(index)
  for (const suffix of ['', '-wal', '-shm']) makePrivate(index + suffix)
  const sqlite = openFile(index)
  return { sqlite, isVolatile: false, ...createDurability(sqlite, index) }
}

function openFile(path: string): DatabaseSync {
  const sqlite = new DatabaseSync(path, { timeout: openTimeout })
  try {
    sqlite.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    const version = Number(sqlite.prepare('PRAGMA user_version').get()?.['user_version'])
    if (version > schemaVersion) {
      const message = `${path} was written by a newer version: update, or use another folder`
      throw new UsageError([{ path: 'cache.dir', message }])
    }
    if (version < schemaVersion) createTables(sqlite)
    return sqlite
  } catch (error) {
    sqlite.close()
    throw error
  }
}

function createTables(sqlite: DatabaseSync): void {
  const created = Object.entries(tables).map(
    ([name, columns]) => `CREATE TABLE IF NOT EXISTS ${name} (${columns}) STRICT, WITHOUT ROWID;`,
  )
  const indexed = indexes.map((index) => `CREATE INDEX IF NOT EXISTS ${index};`)
  sqlite.exec(
    [
      'BEGIN IMMEDIATE;',
      ...created,
      ...indexed,
      `PRAGMA user_version = ${schemaVersion}; COMMIT`,
    ].join('\n'),
  )
}

/** For a read-only folder: SQLite in WAL mode needs to write even to read. */
function copyToMemory(path: string): DatabaseSync {
  const sqlite = new DatabaseSync(':memory:')
  createTables(sqlite)
  try {
    sqlite.prepare('ATTACH ? AS saved').run(`file:${encodeURI(path)}?immutable=1`)
    for (const name of Object.keys(tables)) {
      sqlite.exec(`INSERT INTO main.${name} SELECT * FROM saved.${name}`)
    }
    sqlite.exec('DETACH saved')
  } catch {
    // Nothing to copy: the content is there, and the upstreams will be asked who may have it.
  }
  return sqlite
}

/** SQLITE_CORRUPT and SQLITE_NOTADB */
function isDamage(error: unknown): boolean {
  const { errcode } = error as { errcode?: number }
  return errcode !== undefined && [11, 26].includes(errcode & 0xff)
}

function setAside({ index, quarantine }: Folder): void {
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
