// What a failure of the port to upstreams says, and of whom: of one request, of a repository, of all.
import { GatewayError } from '../errors.ts'

/**
 * `upstream`: nobody there can be asked. `repository`: this request failed by what may be of one
 * repository alone, such as a time-out or a 503. `request`: it says nothing of others.
 */
export type FailureScope = 'upstream' | 'repository' | 'request'

/** Of whom a failure says that asking again soon is of no use. */
export function scopeOf(error: unknown): FailureScope {
  if (isRefusal(error)) return 'repository'
  if (!isOutage(error)) return 'request'
  const { code, reason = '', blame } = error
  // It has not been asked.
  if (reason === 'too_many_upstream_requests' || reason === 'no_descriptors') return 'request'
  if (code === 'TOOMANYREQUESTS') return 'repository'
  if (blame.status !== undefined) {
    return [502, 503, 504].includes(blame.status) ? 'repository' : 'request'
  }
  if (['bad_response', 'digest_mismatch'].includes(reason)) return 'request'
  const isOfOne = ['reset', 'stall', 'timeout', 'truncated'].includes(reason)
  return blame.host !== undefined || isOfOne ? 'repository' : 'upstream'
}

const outages: ReadonlySet<string> = new Set([
  'LOOP_DETECTED',
  'UPSTREAM_FAILED',
  'UPSTREAM_TIMEOUT',
  'TOOMANYREQUESTS',
])

/** The upstream could not be asked, or said nothing of use: what is known of it may still be true. */
export function isOutage(error: unknown): error is GatewayError {
  return (
    error instanceof GatewayError && (error.reason === 'no_descriptors' || outages.has(error.code))
  )
}

/** The upstream does not take the credentials that the gateway has, whatever they are to open. */
export function isRefusal(error: unknown): error is GatewayError {
  return error instanceof GatewayError && error.reason === 'credentials_refused'
}
