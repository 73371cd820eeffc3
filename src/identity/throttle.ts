// Slows down who fails again and again: a few failures are free, each further one has to be waited
// for. Memory is bounded however many sources there are.
import { isIPv6 } from 'node:net'

export interface Throttle {
  /** Milliseconds until `source` (an IP address) may try again; 0: now. */
  wait(source: string): number
  /** Takes note of a failure. */
  fail(source: string): void
}

export interface ThrottleOptions {
  /** Failures that are free. */
  burst: number
  /** Milliseconds after which one more is. */
  refill: number
  /** Sources remembered; the one that failed longest ago is forgotten first. */
  sources?: number
  now?: () => number
}

/** For each source the time at which all its failures are forgiven (the GCRA form of a bucket). */
export function createThrottle(options: ThrottleOptions): Throttle {
  const { burst, refill, sources = 10_000, now = Date.now } = options
  const forgivenAt = new Map<string, number>()

  return {
    wait(source) {
      const time = forgivenAt.get(networkOf(source))
      return time === undefined ? 0 : Math.max(0, time - now() - (burst - 1) * refill)
    },
    fail(source) {
      const network = networkOf(source)
      const time = Math.max(forgivenAt.get(network) ?? 0, now()) + refill
      forgivenAt.delete(network)
      if (forgivenAt.size >= sources) forgivenAt.delete(forgivenAt.keys().next().value ?? '')
      // Many failures at once, begun before the first was counted, do not lock out for ever.
      forgivenAt.set(network, Math.min(time, now() + burst * refill + 60_000))
    },
  }
}

/** An IPv4 address, or the /64 that one holder of IPv6 addresses has at least. */
function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped?.[1] !== undefined) return mapped[1]
  if (!isIPv6(address)) return address
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const groups = head === '' ? [] : head.split(':')
  const missing =
    tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length)
  const all = [...groups, ...Array.from({ length: missing }, () => '0'), ...(tail ?? '').split(':')]
  return all
    .slice(0, 4)
    .map((group) => group.toLowerCase().replace(/^0+(?=.)/, ''))
    .join(':')
}
