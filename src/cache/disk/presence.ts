// Tells whether another process uses a cache folder: each holds a lock on one file for as long as it
// lives. The lock is SQLite's, so the operating system knows it and gives it back when a process
// dies, and it says the same in every container that has the folder.
import { DatabaseSync } from 'node:sqlite'
import { createPrivate } from './private.ts'

export interface Presence {
  /** May be called again. */
  leave: () => void
}

const busy = 5
/** For so long at most somebody else may be alone, ms. */
const patience = 5000

/**
 * Holds the lock from now on. Throws what the file system says.
 * @param whenAlone runs while nobody else can come; not at all where somebody is there
 */
export function enter(path: string, whenAlone: () => void): Presence {
  createPrivate(path)
  const lock = new DatabaseSync(path, { timeout: 0 })
  try {
    if (isAlone(lock)) {
      whenAlone()
      lock.exec('COMMIT')
    }
    lock.exec(`PRAGMA busy_timeout = ${patience}; BEGIN; SELECT count(*) FROM sqlite_schema`)
  } catch (error) {
    lock.close()
    throw error
  }
  return {
    leave() {
      if (lock.isOpen) lock.close()
    },
  }
}

function isAlone(lock: DatabaseSync): boolean {
  try {
    lock.exec('BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    if ((error as { errcode?: number }).errcode === busy) return false
    throw error
  }
}
