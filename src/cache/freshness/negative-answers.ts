// Remembers for a while what a registry has said that it does not have.
import { LRUCache } from 'lru-cache'
import { GatewayError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'
import { placeKey } from '../memory.ts'
import type { Freshness } from '../outage.ts'

export interface NegativeAnswers {
  /** It may be there by now: something of that repository names it. */
  forget: (place: Place, digest: Digest) => void
  /** What the registry said of it, as long as that holds. `resource` as in `OriginRequest`. */
  recent: (place: Place, resource: string) => GatewayError | undefined
  /** Throws what the registry said a moment ago; else asks, and remembers if it says so now. */
  orAsk: <Answer>(place: Place, resource: string, asks: () => Promise<Answer>) => Promise<Answer>
}

/** Clients can invent names without end: of all that is remembered, bytes. */
const most = 4 * 2 ** 20

export function createNegativeAnswers(
  freshnessOf: (upstream: string) => Freshness,
  now: () => number,
): NegativeAnswers {
  const answers = new LRUCache<string, { at: number; error: GatewayError }>({
    maxSize: most,
    sizeCalculation: (_answer, key) => 2 * key.length + 1024,
  })

  function recent(place: Place, resource: string): GatewayError | undefined {
    const known = answers.get(keyOf(place, resource))
    if (known === undefined) return undefined
    const age = now() - known.at
    return age >= 0 && age < (freshnessOf(place.upstream).negativeTtl ?? 0)
      ? known.error
      : undefined
  }

  return {
    recent,
    forget(place, digest) {
      for (const kind of ['blobs', 'manifests']) answers.delete(keyOf(place, `${kind}/${digest}`))
    },
    async orAsk(place, resource, asks) {
      const known = recent(place, resource)
      if (known !== undefined) throw known
      try {
        return await asks()
      } catch (error) {
        if (isOfRegistry(error)) answers.set(keyOf(place, resource), { at: now(), error })
        throw error
      }
    },
  }
}

/** Whatever else may answer 404 on the way does not know. */
function isOfRegistry(error: unknown): error is GatewayError {
  return (
    error instanceof GatewayError &&
    ['BLOB_UNKNOWN', 'MANIFEST_UNKNOWN'].includes(error.code) &&
    error.blame.status === 404
  )
}

function keyOf(place: Place, resource: string): string {
  return `${placeKey(place)} ${resource}`
}
