// How many pulls a registry still allows, as Docker Hub tells it. Pure.
import type { OriginResponse } from '../../oci/origin.ts'

export interface Quota {
  /** Pulls within a window. */
  limit: number
  remaining: number
  /** ms. */
  window: number
  /** When it was told, ms since 1970. */
  at: number
}

/** Docker Hub's window, where it is not told: 6 h. */
const usualWindow = 21_600_000

/** `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`; undefined: it tells none. */
export function quotaIn({ headers }: OriginResponse, at: number): Quota | undefined {
  const limit = read(headers['ratelimit-limit'])
  const remaining = read(headers['ratelimit-remaining'])
  if (limit === undefined || remaining === undefined) return undefined
  const window = remaining.window ?? limit.window ?? usualWindow
  return { limit: limit.count, remaining: remaining.count, window, at }
}

/** Whether fewer than `floor` are left, as far as it is known: after a window there are others. */
export function isShort(quota: Quota | undefined, floor: number, now: number): boolean {
  if (quota === undefined) return false
  const age = now - quota.at
  return quota.remaining < floor && age >= 0 && age < quota.window
}

function read(header: string | undefined): { count: number; window?: number } | undefined {
  const match = /^\s*(\d{1,9})\s*(?:;\s*w=(\d{1,9}))?/.exec(header ?? '')
  if (match === null) return undefined
  const [, count, seconds] = match
  return {
    count: Number(count),
    ...(seconds === undefined ? {} : { window: Number(seconds) * 1000 }),
  }
}
