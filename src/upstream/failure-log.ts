// Tells of failures: each one to the metrics, the same reason of the same upstream once a minute to
// the log.
import type { Logger } from 'pino'
import type { GatewayError } from '../errors.ts'
import { createQuietLog } from '../rules/quiet-log.ts'

/** One HTTP request to an upstream. */
export interface AttemptSample {
  upstream: string
  method: string
  outcome: 'ok' | 'error'
  status?: number
  reason?: string
  seconds: number
}

/** Logs a failure, with how many of the same were left out since the last line. */
export function createFailureLog(
  log: Logger,
  now: () => number,
): (upstream: string, failure: { reason: string; error: GatewayError }) => void {
  const quiet = createQuietLog(now)
  return (upstream, { reason, error }) => {
    const suppressed = quiet(`${upstream} ${reason}`)
    if (suppressed === undefined) return
    log.warn({ upstream, reason, ...causeOf(error.cause), suppressed }, error.message)
  }
}

function causeOf(cause: unknown): { code?: string; detail?: string } {
  if (!(cause instanceof Error)) return {}
  const code = 'code' in cause && typeof cause.code === 'string' ? { code: cause.code } : {}
  return { ...code, detail: cause.message }
}
