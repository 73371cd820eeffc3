// Which upstreams could not be asked lately: they get a rest, and clients what is known meanwhile.
import { GatewayError } from '../errors.ts'
import { isOutage } from './exchange.ts'

export interface Outages {
  /**
   * What `asks` brings; what `stale` does where the upstream cannot be asked now, was not to be
   * had a moment ago, or is never to be asked. `stale` answers undefined where it has nothing.
   */
  orStale: <Answer extends object>(
    upstream: string,
    asks: () => Promise<Answer>,
    stale: () => Promise<Answer | undefined>,
  ) => Promise<Answer>
  /** Upstreams are never to be asked. */
  isOffline: () => boolean
  /** @throws GatewayError UNAVAILABLE */
  assertOnline: () => void
}

export interface OutagesOptions {
  offline: () => boolean
  now: () => number
}

/** How long an upstream that failed is left alone while there is something else to serve, ms. */
const restFor = 15_000

export function createOutages({ offline, now }: OutagesOptions): Outages {
  const failedAt = new Map<string, number>()

  function isResting(upstream: string): boolean {
    const since = now() - (failedAt.get(upstream) ?? Number.NEGATIVE_INFINITY)
    return since >= 0 && since < restFor
  }

  return {
    async orStale(upstream, asks, stale) {
      if (offline() || isResting(upstream)) {
        const known = await stale()
        if (known !== undefined) return known
        if (offline()) throw offlineError()
      }
      try {
        const answer = await asks()
        failedAt.delete(upstream)
        return answer
      } catch (error) {
        if (!isOutage(error)) throw error
        failedAt.set(upstream, now())
        const known = await stale()
        if (known === undefined) throw error
        return known
      }
    },
    isOffline: offline,
    assertOnline() {
      if (offline()) throw offlineError()
    },
  }
}

function offlineError(): GatewayError {
  return new GatewayError(
    'UNAVAILABLE',
    'the gateway is offline and the cache does not hold this: preload or import it',
  )
}
