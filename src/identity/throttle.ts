// Slows down who fails again and again: a few failures are free, each further one has to be waited
// for. Memory is bounded however many keys there are, and however long.
import { hash } from 'node:crypto'
import { networkOf } from '../rules/network.ts'
import { LRUCache } from 'lru-cache'

export interface Throttle {
  /** Milliseconds until the next attempt under `key` is listened to; 0: now. */
  wait(key: string): number
  /** Takes note of a failure, or of an attempt whose outcome is not known yet. */
  fail(key: string): void
  /** Takes back what was counted by one `fail`: the attempt was none. */
  forgive(key: string): void
}

export interface ThrottleOptions {
  /** Failures that are free. */
  burst: number
  /** Milliseconds after which one more is. */
  refill: number
  /** Keys remembered; the one that failed longest ago is forgotten first. */
  keys?: number
  now?: () => number
}

/** Characters of a key that is kept as it is; of a longer one its hash is. */
const longestKey = 64

/** For each key the time at which all its failures are forgiven (the GCRA form of a bucket). */
export function createThrottle(options: ThrottleOptions): Throttle {
  const { burst, refill, keys = 10_000, now = Date.now } = options
  const forgivenAt = new LRUCache<string, number>({ max: keys })

  return {
    wait(key) {
      const time = forgivenAt.peek(boundedKey(key))
      return time === undefined ? 0 : Math.max(0, time - now() - (burst - 1) * refill)
    },
    fail(key) {
      const bounded = boundedKey(key)
      const time = Math.max(forgivenAt.peek(bounded) ?? 0, now()) + refill
      // Many failures at once, begun before the first was counted, do not lock out for ever.
      forgivenAt.set(bounded, Math.min(time, now() + burst * refill + 60_000))
    },
    forgive(key) {
      const bounded = boundedKey(key)
      const time = (forgivenAt.peek(bounded) ?? 0) - refill
      if (time <= now()) forgivenAt.delete(bounded)
      else forgivenAt.set(bounded, time)
    },
  }
}

function boundedKey(key: string): string {
  return key.length <= longestKey ? key : hash('sha256', key, 'base64url')
}

/**
 * Whom failures are counted for: the holder of a certificate as such, so that nobody behind the
 * same address can have it refused; anybody else by address, IPv6 by the /64 that one holder of
 * addresses has at least.
 */
export function sourceOf(
  address: string | undefined,
  certificate: { thumbprint: string } | undefined,
): string {
  if (certificate !== undefined) return `certificate ${certificate.thumbprint}`
  return networkOf(address ?? '')
}
