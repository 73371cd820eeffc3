// Which upstreams could not be asked lately: they get a rest, and clients what is known meanwhile.
import { GatewayError } from '../errors.ts'
import { isOutage } from './ask.ts'

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
  /** How long an upstream that failed before is waited for, where there is something to serve, ms. */
  patience: number
}

/** How long an upstream that failed is left alone while there is something else to serve, ms. */
const restFor = 15_000

export function createOutages({ offline, now, patience }: OutagesOptions): Outages {
  const failedAt = new Map<string, number>()

  function isResting(upstream: string): boolean {
    const since = now() - (failedAt.get(upstream) ?? Number.NEGATIVE_INFINITY)
    return since >= 0 && since < restFor
  }

  async function noted<Answer>(upstream: string, asks: () => Promise<Answer>): Promise<Answer> {
    try {
      const answer = await asks()
      failedAt.delete(upstream)
      return answer
    } catch (error) {
      if (isOutage(error) && !isAnswer(error)) failedAt.set(upstream, now())
      throw error
    }
  }

  return {
    async orStale(upstream, asks, stale) {
      if (offline() || isResting(upstream)) {
        const known = await stale()
        if (known !== undefined) return known
        if (offline()) throw offlineError()
      }
      const failedBefore = failedAt.has(upstream)
      const asking = noted(upstream, asks)
      if (failedBefore && (await isLate(asking, patience))) {
        failedAt.set(upstream, now())
        const known = await stale()
        if (known !== undefined) return known
      }
      return asking.catch(async (error: unknown) => {
        const known = isOutage(error) ? await stale() : undefined
        if (known === undefined) throw error
        return known
      })
    },
    isOffline: offline,
    assertOnline() {
      if (offline()) throw offlineError()
    },
  }
}

/** The upstream is there, but what it said is of no use. */
function isAnswer({ reason = '' }: GatewayError): boolean {
  return ['bad_response', 'digest_mismatch'].includes(reason)
}

/** Whether the work takes longer than so many ms; it goes on. */
async function isLate(work: Promise<unknown>, ms: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(resolve, ms, true)
  const inTime = () => resolve(false)
  work.then(inTime, inTime)
  try {
    return await promise
  } finally {
    clearTimeout(timer)
  }
}

function offlineError(): GatewayError {
  return new GatewayError(
    'UNAVAILABLE',
    'the gateway is offline and the cache does not hold this: preload or import it',
  )
}
