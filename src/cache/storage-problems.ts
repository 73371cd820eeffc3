// What keeps the cache from storing: told in the log once a minute, counted, and told to whoever asks.
import type { Logger } from 'pino'
import { createQuietLog } from '../rules/quiet-log.ts'
import { systemCode } from '../errors.ts'

export interface StorageProblems {
  /** Takes note that something could not be stored; the answer to the client does not suffer. */
  note: (error: unknown, what: string) => void
  /** Runs `work`; what it throws is noted. */
  guard: (what: string, work: () => void) => void
  /** A sentence about each thing that failed within the last minute, by its last failure. */
  recent: () => string[]
}

const minute = 60_000

/** @param onFailure gets the cause of each failure, see `causeOf` */
export function createStorageProblems(
  log: Logger,
  onFailure: (cause: string) => void,
): StorageProblems {
  const now = (): number => performance.now()
  const quiet = createQuietLog(now)
  const last = new Map<string, { at: number; cause: string }>()

  function note(error: unknown, what: string): void {
    const cause = causeOf(error)
    last.set(what, { at: now(), cause })
    onFailure(cause)
    const suppressed = quiet('storage')
    if (suppressed === undefined) return
    log.error(
      { err: error, suppressed },
      `${what} failed: what is fetched is passed on without being kept`,
    )
  }

  return {
    note,
    guard(what, work) {
      try {
        work()
      } catch (error) {
        note(error, what)
      }
    },
    recent: () =>
      [...last]
        .filter(([, { at }]) => now() - at <= minute)
        .map(([what, { cause }]) => `${what} failed: ${cause}`)
        .sort(),
  }
}

/** SQLite's primary result codes, by what the system said underneath; its documentation, "Result Codes". */
const sqliteCauses: Readonly<Record<number, string>> = {
  5: 'EBUSY',
  8: 'EROFS',
  10: 'EIO',
  11: 'damaged',
  13: 'ENOSPC',
  14: 'EACCES',
  26: 'damaged',
}

/** The system's code, such as `ENOSPC`, also where SQLite has met it; `damaged` for its file. */
function causeOf(error: unknown): string {
  const { errcode } = Object(error) as { errcode?: number }
  return (errcode === undefined ? undefined : sqliteCauses[errcode & 0xff]) ?? systemCode(error)
}
