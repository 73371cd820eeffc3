// Makes what the index has committed survive a power cut, off the hot path.
import { closeSync, fdatasyncSync, openSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { syncFolder } from '../disk/folder.ts'
import { systemCode } from '../../errors.ts'

export interface Durability {
  /** Resolves to whether there was something to do. On the thread pool: it takes what the disk takes. */
  sync: () => Promise<boolean>
  /** The same at once, for the end. */
  syncNow: () => void
}

/**
 * SQLite (WAL, synchronous NORMAL) writes a commit to its log and syncs that at checkpoints only,
 * which are megabytes apart. A link that is lost means content that an offline site must not serve.
 * Syncing the log from outside gives what FULL gives, once for many commits and not for each.
 *
 * Only the log may be opened: closing any descriptor of `index.db` itself would drop SQLite's locks
 * on it (fcntl(2), POSIX record locks).
 */
export function createDurability(sqlite: DatabaseSync, path: string): Durability {
  const log = `${path}-wal`
  const total = sqlite.prepare('SELECT total_changes() AS changes')
  let synced = -1

  /** Whether something changed since it was asked. */
  function isBehind(): boolean {
    const changes = Number(total.get()?.['changes'])
    const isBehind = changes !== synced
    synced = changes
    return isBehind
  }

  return {
    async sync() {
      const isFirst = synced === -1
      if (!isBehind()) return false
      try {
        const handle = await open(log)
        try {
          await handle.datasync()
        } finally {
          await handle.close()
        }
        if (isFirst) await syncFolder(dirname(path))
        return true
      } catch (error) {
        synced = -1
        throw error
      }
    },
    syncNow() {
      if (!isBehind()) return
      try {
        const fd = openSync(log, 'r')
        fdatasyncSync(fd)
        closeSync(fd)
      } catch (error) {
        // Somebody has taken the folder away.
        if (systemCode(error) !== 'ENOENT') throw error
      }
    },
  }
}
