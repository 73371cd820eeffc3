// When a failed request is made again.
import { setTimeout as wait } from 'node:timers/promises'
import { exchangeBudget } from '../oci/attempts.ts'
import type { ExchangeFlow } from './flow.ts'

/** The longest Retry-After that is passed on, ms. */
const longest = 86_400_000

interface RetryState {
  /** Retries so far. */
  retries: number
  /** Since the request began, ms. */
  elapsed: number
  /** What the upstream asks for, ms. */
  retryAfter: number | undefined
}

/** Milliseconds to wait before the next try: 100, 300, 900, each up to half less; undefined: give up. */
function retryDelay(state: RetryState, random = Math.random()): number | undefined {
  const { retries, within, delay: first } = exchangeBudget
  if (state.retries >= retries) return undefined
  const backoff = first * 3 ** state.retries * (1 - random / 2)
  const delay = Math.max(backoff, state.retryAfter ?? 0)
  return state.elapsed + delay <= within ? delay : undefined
}

/** Whether another try is due; returns when it is, or when the exchange is aborted. */
export async function waitToRetry(
  { isTransient, retryAfter }: Pick<RetryState, 'retryAfter'> & { isTransient: boolean },
  state: Pick<RetryState, 'retries' | 'elapsed'>,
  flow: ExchangeFlow,
): Promise<boolean> {
  const delay = isTransient ? retryDelay({ ...state, retryAfter }) : undefined
  if (delay === undefined) return false
  const timer = new AbortController()
  await Promise.race([wait(delay, undefined, { signal: timer.signal }), flow.aborted])
  timer.abort()
  return true
}

/** A Retry-After header (RFC 9110 section 10.2.3) in ms from `now`, a day at most. */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  const text = header?.trim() ?? ''
  const delay = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  return Number.isNaN(delay) ? undefined : Math.min(Math.max(delay, 0), longest)
}
