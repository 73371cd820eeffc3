// Tells of failures: each one to the metrics, the same reason of the same upstream once a minute to
// the log.
import type { Logger } from 'pino'
import type { GatewayError } from '../errors.ts'

/** One HTTP request to an upstream. */
export interface AttemptSample {
  upstream: string
  method: string
  outcome: 'ok' | 'error'
  status?: number
  reason?: string
  seconds: number
}

const quiet = 60_000

/** Logs a failure, with how many of the same were left out since the last line. */
export function createFailureLog(
  log: Logger,
  now: () => number,
): (upstream: string, failure: { reason: string; error: GatewayError }) => void {
  const seen = new Map<string, { until: number; suppressed: number }>()
  return (upstream, { reason, error }) => {
    const key = `${upstream} ${reason}`
    const entry = seen.get(key)
    if (entry !== undefined && now() < entry.until) {
      entry.suppressed += 1
      return
    }
    seen.set(key, { until: now() + quiet, suppressed: 0 })
    const facts = { upstream, reason, ...causeOf(error.cause), suppressed: entry?.suppressed ?? 0 }
    log.warn(facts, error.message)
  }
}

function causeOf(cause: unknown): { code?: string; detail?: string } {
  if (!(cause instanceof Error)) return {}
  const code = 'code' in cause && typeof cause.code === 'string' ? { code: cause.code } : {}
  return { ...code, detail: cause.message }
}
