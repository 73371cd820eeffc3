// Decides who is left alone after a failure, for how long, and whether clients get what is known meanwhile.
import { LRUCache } from 'lru-cache'
import { GatewayError } from '../errors.ts'
import type { Place } from '../oci/place.ts'
import { isOutage, isRefusal, scopeOf } from '../oci/failure-scope.ts'
import { BadAnswer } from './ask.ts'
import type { Circuit } from './cache.ts'
import type { TagTtl } from './freshness/tag-ttl.ts'
import { placeKey } from './memory.ts'

/** How long tags of an upstream are served, and what it does not have is remembered, in ms. */
export interface Freshness {
  /** Without asking again. */
  tagTtl: TagTtl
  /** Beyond that, while the upstream cannot be asked. */
  staleIfError: number
  /** The same while it refuses our own credentials; `staleIfError` when absent. */
  staleIfDenied?: number | undefined
  /** What becomes of a tag that the registry does not have any more; `drop` when absent. */
  onUpstreamDelete?: 'keep' | 'drop'
  /** What the registry says that it does not have; 0 when absent. */
  negativeTtl?: number
}

export interface Outages {
  /**
   * What `asks` brings; what `stale` does where the upstream cannot be asked now, was not to be
   * had a moment ago, or is never to be asked. `stale` gets the longest that an answer may be
   * overdue, in ms, and answers undefined where it has nothing.
   */
  orStale: <Answer extends object>(
    place: Place,
    asks: () => Promise<Answer>,
    stale: (longest: number) => Promise<Answer | undefined>,
  ) => Promise<Answer>
  /** @throws GatewayError UNAVAILABLE */
  assertOnline: (place: Place) => void
  circuit: (upstream: string) => Circuit
}

export interface OutagesOptions {
  /** Whether it is never to be asked. */
  offline: (upstream: string) => boolean
  freshnessOf: (upstream: string) => Freshness
  now: () => number
  /** How long an upstream that failed before is waited for, where there is something to serve, ms. */
  patience: number
  /** Tells of an answer that is of no use, which whoever speaks with the upstream takes for a good one. */
  report: (upstream: string, error: GatewayError) => void
}

/** How long whoever failed is left alone while there is something else to serve, ms. */
const restFor = 15_000
/** How long a failure counts where another one of the same upstream follows, ms. */
const minute = 60_000
/** Repositories that are remembered to have failed, at most; each is its name. */
const mostRemembered = 2000

interface Failure {
  at: number
  /** A word of docs/reference/errors.md. */
  reason: string
  /** Our own credentials are refused, rather than that nobody could be asked. */
  isRefusal: boolean
}

export function createOutages(options: OutagesOptions): Outages {
  const { offline, freshnessOf, now, patience, report } = options
  const failures = createFailures(now)

  function longest(upstream: string, isRefusal: boolean): number {
    if (offline(upstream)) return Number.POSITIVE_INFINITY
    const { staleIfError, staleIfDenied = staleIfError } = freshnessOf(upstream)
    return isRefusal ? staleIfDenied : staleIfError
  }

  async function noted<Answer>(place: Place, asks: () => Promise<Answer>): Promise<Answer> {
    try {
      const answer = await asks()
      failures.forget(place)
      return answer
    } catch (error) {
      failures.note(place, error)
      throw error
    }
  }

  return {
    async orStale(place, asks, stale) {
      const { upstream } = place
      const rests = failures.resting(place)
      if (offline(upstream) || rests !== undefined) {
        const known = await stale(longest(upstream, rests?.isRefusal === true))
        if (known !== undefined) return known
        if (offline(upstream)) throw offlineError(upstream)
      }
      const before = failures.last(place)
      const asking = noted(place, asks)
      if (before !== undefined && (await isLate(asking, patience))) {
        failures.noteLate(place)
        const known = await stale(longest(upstream, before.isRefusal))
        if (known !== undefined) return known
      }
      return asking.catch(async (error: unknown) => {
        if (!isOutage(error) && !isRefusal(error)) throw error
        if (error instanceof BadAnswer) report(upstream, error)
        const known = await stale(longest(upstream, isRefusal(error)))
        if (known === undefined) throw error
        return known
      })
    },
    circuit: (upstream) => failures.circuit(upstream),
    assertOnline({ upstream }) {
      if (offline(upstream)) throw offlineError(upstream)
    },
  }
}

/**
 * What failed lately. A registry that cannot be reached is left alone as a whole; where a single
 * request failed, because it took too long or by an answer that says "not now", only its repository
 * is, unless the next one to be asked fails as well.
 */
function createFailures(now: () => number) {
  const upstreams = new LRUCache<string, Failure>({ max: mostRemembered })
  const places = new LRUCache<string, Failure>({ max: mostRemembered })
  /** The last repository of each upstream that failed by itself, until any is answered. */
  const suspects = new Map<string, Failure & { key: string }>()

  function within(ms: number, at: number | undefined): boolean {
    const age = now() - (at ?? Number.NEGATIVE_INFINITY)
    // After a clock that was set back nobody knows how long it was.
    return age >= 0 && age < ms
  }

  function noteWeak(place: Place, failure: Failure): void {
    const { upstream } = place
    const key = placeKey(place)
    const suspect = suspects.get(upstream)
    const isAnother = suspect !== undefined && suspect.key !== key && within(minute, suspect.at)
    if (isAnother) begin(upstreams, upstream, failure)
    suspects.set(upstream, { key, ...failure })
    begin(places, key, failure)
  }

  /** A failure during a rest does not make it longer: others may have better luck after it. */
  function begin(known: LRUCache<string, Failure>, key: string, failure: Failure): void {
    if (!within(restFor, known.get(key)?.at)) known.set(key, failure)
  }

  return {
    resting(place: Place): Failure | undefined {
      return [upstreams.get(place.upstream), places.get(placeKey(place))].find((failure) =>
        within(restFor, failure?.at),
      )
    },
    /** What failed before, and was not answered since. */
    last: (place: Place): Failure | undefined =>
      upstreams.get(place.upstream) ?? places.get(placeKey(place)) ?? suspects.get(place.upstream),
    forget(place: Place): void {
      upstreams.delete(place.upstream)
      suspects.delete(place.upstream)
      places.delete(placeKey(place))
    },
    note(place: Place, error: unknown): void {
      const scope = scopeOf(error)
      const { reason = 'error' } = error instanceof GatewayError ? error : {}
      const failure = { at: now(), isRefusal: isRefusal(error), reason }
      if (scope === 'upstream') begin(upstreams, place.upstream, failure)
      if (scope === 'repository') noteWeak(place, failure)
    },
    noteLate: (place: Place) => noteWeak(place, { at: now(), isRefusal: false, reason: 'timeout' }),
    circuit(upstream: string): Circuit {
      const failure = upstreams.get(upstream)
      if (failure === undefined) return { state: 'closed' }
      const { at, reason } = failure
      const state = within(restFor, at) ? 'open' : 'half-open'
      return { state, reason, since: at, nextProbe: at + restFor }
    },
  }
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

function offlineError(upstream: string): GatewayError {
  return new GatewayError(
    'UNAVAILABLE',
    `the gateway is offline for ${upstream}, and the cache does not hold this: preload or import it`,
  )
}
