// When a failed request is made again. Pure.
import { exchangeBudget } from '../oci/attempts.ts'

/** The longest Retry-After that is passed on, ms. */
const longest = 86_400_000

export interface RetryState {
  /** Retries so far. */
  retries: number
  /** Since the request began, ms. */
  elapsed: number
  /** What the upstream asks for, ms. */
  retryAfter: number | undefined
}

/** Milliseconds to wait before the next try: 100, 300, 900, each up to half less; undefined: give up. */
export function retryDelay(state: RetryState, random = Math.random()): number | undefined {
  const { retries, within, delay: first } = exchangeBudget
  if (state.retries >= retries) return undefined
  const backoff = first * 3 ** state.retries * (1 - random / 2)
  const delay = Math.max(backoff, state.retryAfter ?? 0)
  return state.elapsed + delay <= within ? delay : undefined
}

/** A Retry-After header (RFC 9110 section 10.2.3) in ms from `now`, a day at most. */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  const text = header?.trim() ?? ''
  const delay = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isNaN(delay) ? undefined : Math.min(Math.max(delay, 0), longest)
}
