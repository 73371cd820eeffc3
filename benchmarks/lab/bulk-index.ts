// Fills the index of a cache folder with very many contents: fast, and safe only where nothing else uses it.
import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { openIndex } from '../../src/cache/index/content-index.ts'
import { upkeep } from '../../src/cache/index/upkeep.ts'

/** What puts one row into each table, with its columns in their order. */
interface Inserts {
  /** All columns but `root`. */
  content: StatementSync
  /** Parent and child. */
  edge: StatementSync
  link: StatementSync
  tag: StatementSync
}

/** Writes nothing into the journal. */
export function fillInBulk(dir: string, fill: (inserts: Inserts) => void): void {
  openIndex(dir).close()
  const sqlite = new DatabaseSync(join(dir, 'index.db'))
  const triggers = sqlite.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all()
  for (const { name } of triggers) sqlite.exec(`DROP TRIGGER ${String(name)}`)
  sqlite.exec(
    'PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; BEGIN',
  )
  fill({
    content: sqlite.prepare('INSERT OR IGNORE INTO content VALUES (?, ?, ?, ?, ?, ?, 1)'),
    edge: sqlite.prepare("INSERT OR IGNORE INTO edge VALUES (?, ?, 'child')"),
    link: sqlite.prepare('INSERT OR IGNORE INTO link VALUES (?, ?, ?, ?)'),
    tag: sqlite.prepare('INSERT INTO tag VALUES (?, ?, ?, ?, ?)'),
  })
  sqlite.exec('COMMIT')
  sqlite.exec(`BEGIN; ${upkeep} COMMIT; PRAGMA journal_mode = WAL`)
  sqlite.close()
}
