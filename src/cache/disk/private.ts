// Keeps what is written to its own user, whatever the umask: to others of the machine it would be
// what no policy lets them have.
import { chmodSync, closeSync, openSync, statSync } from 'node:fs'
import { systemCode } from '../../errors.ts'

export const modes = { file: 0o600, folder: 0o700 } as const

/**
 * Makes the file of a database that SQLite would make by the umask; the files beside it get the
 * mode of this one. Never opens one that is there: closing it would give up this process's locks.
 */
export function createPrivate(path: string): void {
  try {
    closeSync(openSync(path, 'wx', modes.file))
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
  }
}

/** Takes the file, where it is there and ours, away from others. */
export function makePrivate(path: string): void {
  try {
    const { mode } = statSync(path)
    if ((mode & 0o077) !== 0) chmodSync(path, mode & 0o700)
  } catch {
    // What cannot be written is told where it is written.
  }
}
