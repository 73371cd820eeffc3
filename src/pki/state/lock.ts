// One writer at a time in a state folder, also across processes. The lock is SQLite's on the file
// `.lock`: the system gives it back when a process dies, so that it never has to be broken.
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'

const busy = 5
const patience = 60_000

/** Runs `work` while nobody else runs theirs on `dir`; waits up to a minute for its turn. */
export async function withLock<T>(dir: string, work: () => Promise<T>): Promise<T> {
  const lock = new DatabaseSync(join(dir, '.lock'), { timeout: 0 })
  try {
    await acquire(lock, dir)
    return await work()
  } finally {
    lock.close()
  }
}

async function acquire(lock: DatabaseSync, dir: string): Promise<void> {
  const end = Date.now() + patience
  while (!isTaken(lock)) {
    if (Date.now() > end) throw new Error(`another process has been using ${dir} for a minute`)
    // Waiting without SQLite's own timeout leaves the event loop to whoever holds the lock here.
    await sleep(5 + Math.random() * 30)
  }
}

function isTaken(lock: DatabaseSync): boolean {
  try {
    lock.exec('BEGIN EXCLUSIVE')
    return true
  } catch (error) {
    if ((error as { errcode?: number }).errcode === busy) return false
    throw error
  }
}
