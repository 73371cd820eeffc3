// What keeps the cache from storing: told in the log once a minute, and to whoever asks for it.
import type { Logger } from 'pino'
import { createQuietLog } from '../rules/quiet-log.ts'
import { systemCode } from '../errors.ts'

export interface StorageProblems {
  /** Takes note that something could not be stored; the answer to the client does not suffer. */
  note: (error: unknown, what: string) => void
  /** Runs `work`; what it throws is noted. */
  guard: (what: string, work: () => void) => void
  /** A sentence about what failed within the last minute. */
  recent: () => string | undefined
}

const minute = 60_000

export function createStorageProblems(log: Logger): StorageProblems {
  const quiet = createQuietLog(() => performance.now())
  let last: { at: number; text: string } | undefined

  function note(error: unknown, what: string): void {
    const at = performance.now()
    last = { at, text: `${what} failed: ${systemCode(error)}` }
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
      last === undefined || performance.now() - last.at > minute ? undefined : last.text,
  }
}
