// Tags: served while they are fresh, revalidated after that, and served stale in an outage.
import { GatewayError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Place } from '../oci/place.ts'
import type { TagFacts } from './index/content-index.ts'
import { badResponse } from './ask.ts'
import {
  notOfRegistry,
  type ManifestSource,
  type FoundManifest,
  type Manifests,
} from './manifests.ts'
import { placeKey } from './memory.ts'
import type { Context } from './context.ts'
import { createSingleFlight } from './single-flight.ts'

type Tag = (place: Place, tag: string) => FoundManifest | Promise<FoundManifest>

export function createTags(context: Context, manifests: Manifests, source: ManifestSource): Tag {
  const { memory, outages, heads, freshnessOf, now } = context
  const { manifest, held, fetched, counted } = manifests
  const share = createSingleFlight()

  function isFresh({ checkedAt }: TagFacts, upstream: string): boolean {
    const age = now() - checkedAt
    return age >= 0 && age < freshnessOf(upstream).tagTtl
  }

  async function byTag(place: Place, tag: string, known?: FoundManifest): Promise<FoundManifest> {
    try {
      const found = await fetched(place, tag, known)
      memory.setTag(place, tag, found.content.digest)
      return found
    } catch (error) {
      throw judged(place, tag, error)
    }
  }

  /** A tag is gone where a registry says so; whatever else may answer 404 does not know. */
  function judged(place: Place, tag: string, error: unknown): unknown {
    if (!(error instanceof GatewayError) || error.code !== 'MANIFEST_UNKNOWN') return error
    if (error.reason === notOfRegistry && memory.tag(place, tag) !== undefined) {
      return badResponse('a 404 that is not that of a registry', error)
    }
    memory.dropTag(place, tag)
    return error
  }

  /** Asks whether the tag still means the same. */
  async function revalidated(place: Place, tag: string, before: Digest): Promise<FoundManifest> {
    const answer = await heads.orGet<Digest | FoundManifest>(place.upstream, 'manifest', {
      head: async () => source.resolve(place, tag),
      get: async () => byTag(place, tag, await held(place, before)),
    })
    if (typeof answer !== 'string') return answer
    const known = await held(place, answer)
    if (known === undefined) return byTag(place, tag)
    memory.setTag(place, tag, answer)
    return counted(known)
  }

  /** What the tag meant, as long as that may be served without asking. */
  async function stale(
    place: Place,
    { digest, checkedAt }: TagFacts,
    longest: number,
  ): Promise<FoundManifest | undefined> {
    const age = now() - checkedAt
    if (age >= freshnessOf(place.upstream).tagTtl + longest) return undefined
    const found = await held(place, digest)
    return found && { ...counted(found), stale: true }
  }

  return (place, tag) => {
    const known = memory.tag(place, tag)
    if (known === undefined) {
      return outages.orStale(
        place,
        async () => byTag(place, tag),
        async () => undefined,
      )
    }
    if (isFresh(known, place.upstream)) return manifest(place, known.digest)
    return share(`${placeKey(place)} ${tag}`, async () =>
      outages.orStale(
        place,
        async () => revalidated(place, tag, known.digest),
        async (longest) => stale(place, known, longest),
      ),
    )
  }
}
