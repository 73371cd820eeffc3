// Turns entries of the journal into rows of the index, and rows into entries.
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import { readJournal, type Entry, type EntryKind } from './journal.ts'

const statements: Record<EntryKind, string> = {
  link: 'INSERT OR IGNORE INTO link VALUES (?, ?, ?, ?)',
  unlink: 'DELETE FROM link WHERE upstream = ? AND repository = ? AND digest = ?',
  // A row that is replaced fires no trigger for the one before.
  tag: `INSERT INTO tag VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET digest = excluded.digest, checked_at = excluded.checked_at`,
  untag: 'DELETE FROM tag WHERE upstream = ? AND repository = ? AND name = ?',
  pin: 'INSERT OR IGNORE INTO pin VALUES (?, ?, ?, ?)',
  unpin: 'DELETE FROM pin WHERE upstream = ? AND repository = ? AND reference = ? AND owner = ?',
}

/** Does again what the journal at `path` has from the byte `from` on; the number of its entries. */
export function restore(sqlite: DatabaseSync, path: string, from = 0): number {
  const prepared = Object.fromEntries(
    Object.entries(statements).map(([kind, sql]) => [kind, sqlite.prepare(sql)]),
  )
  let count = 0
  for (const [kind, ...values] of readJournal(path, from)) {
    prepared[kind]?.run(...values)
    count += 1
  }
  return count
}

/** Of these keys each is larger than the one before. */
const keys = {
  link: ['upstream', 'repository', 'digest', 'kind'],
  tag: ['upstream', 'repository', 'name'],
  pin: ['upstream', 'repository', 'reference', 'owner'],
}
/** Takes some milliseconds. */
const stepRows = 1000

/** All that a journal has to say, in pieces; what changes meanwhile may be in it or not. */
export function* entriesIn(sqlite: DatabaseSync): Iterable<Entry[]> {
  for (const [table, columns] of Object.entries(keys)) {
    const key = columns.join(', ')
    const next = sqlite.prepare(
      `SELECT * FROM ${table} WHERE (${key}) > (${columns.map(() => '?').join(', ')})
       ORDER BY ${key} LIMIT ${stepRows}`,
    )
    next.setReturnArrays(true)
    let last: SQLInputValue[] = columns.map(() => '')
    for (;;) {
      const rows = next.all(...last) as unknown as (string | number)[][]
      const end = rows.at(-1)
      if (end === undefined) break
      yield rows.map((row): Entry => [table as EntryKind, ...row])
      last = end.slice(0, columns.length)
    }
  }
}
