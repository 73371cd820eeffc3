// Tags: served while they are fresh, revalidated after that, and served stale in an outage.
import { GatewayError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { Place } from '../oci/place.ts'
import type { Cache } from './cache.ts'
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
  const { unknown, answered } = createAnswers(context, manifests, source)
  const broughtIn = createBringing(context, manifests)
  return (place, tag) => {
    const known = context.memory.tag(place, tag)
    if (known !== undefined) return answered(place, tag, known)
    const bringing = broughtIn(place, tag)
    return bringing === undefined
      ? unknown(place, tag)
      : bringing.then((facts) => (facts ? answered(place, tag, facts) : unknown(place, tag)))
  }
}

/** What is answered to a tag of which nothing is known, and to one that meant something once. */
function createAnswers(context: Context, manifests: Manifests, source: ManifestSource) {
  const { memory, outages, heads, negatives, isQuotaShort, freshnessOf, tagTtls, now } = context
  const { manifest, held, fetched, counted } = manifests
  const share = createSingleFlight()
  const byHead = createSparing(context, manifests, source)

  function isFresh({ checkedAt }: TagFacts, { upstream }: Place, tag: string): boolean {
    const age = now() - checkedAt
    return age >= 0 && age < tagTtls(freshnessOf(upstream).tagTtl, tag)
  }

  async function byTag(place: Place, tag: string, known?: FoundManifest): Promise<FoundManifest> {
    try {
      const found = await fetched(place, tag, known)
      memory.setTag(place, tag, found.content.digest)
      return found
    } catch (error) {
      if (!(error instanceof GatewayError) || error.code !== 'MANIFEST_UNKNOWN') throw error
      return keptAfter(place, tag, error)
    }
  }

  /** A tag is gone where a registry says so; whatever else may answer 404 does not know. */
  async function keptAfter(place: Place, tag: string, error: GatewayError): Promise<FoundManifest> {
    const known = memory.tag(place, tag)
    if (known !== undefined && error.reason === notOfRegistry) {
      throw badResponse('a 404 that is not that of a registry', undefined, error)
    }
    const { onUpstreamDelete } = freshnessOf(place.upstream)
    const found = known && onUpstreamDelete === 'keep' ? await held(place, known.digest) : undefined
    if (found !== undefined) return { ...counted(found), stale: true }
    memory.dropTag(place, tag)
    throw error
  }

  /** Asks whether the tag still means the same. */
  async function revalidated(place: Place, tag: string, before: Digest): Promise<FoundManifest> {
    const gone = negatives.recent(place, `manifests/${tag}`)
    if (gone !== undefined) return keptAfter(place, tag, gone)
    const spared = isQuotaShort(place.upstream) ? await byHead(place, tag, before) : undefined
    if (spared !== undefined) return spared
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
    tag: string,
    { digest, checkedAt }: TagFacts,
    longest: number,
  ): Promise<FoundManifest | undefined> {
    const age = now() - checkedAt
    if (age >= tagTtls(freshnessOf(place.upstream).tagTtl, tag) + longest) return undefined
    const found = await held(place, digest)
    return found && { ...counted(found), stale: true }
  }

  async function unknown(place: Place, tag: string): Promise<FoundManifest> {
    return outages.orStale(
      place,
      async () => byTag(place, tag),
      async () => undefined,
    )
  }

  function answered(
    place: Place,
    tag: string,
    known: TagFacts,
  ): FoundManifest | Promise<FoundManifest> {
    if (isFresh(known, place, tag)) return manifest(place, known.digest)
    return share(`${placeKey(place)} ${tag}`, async () =>
      outages.orStale(
        place,
        async () => revalidated(place, tag, known.digest),
        async (longest) => stale(place, tag, known, longest),
      ),
    )
  }

  return { unknown, answered }
}

/**
 * What another replica knows of a tag, with the manifest, as if this one had asked itself then.
 * Undefined where there is nobody to know.
 */
function createBringing({ shared, memory }: Context, { manifest }: Manifests) {
  const share = createSingleFlight()
  return (place: Place, tag: string): Promise<TagFacts | undefined> | undefined => {
    if (shared === undefined) return undefined
    return share(`${placeKey(place)} ${tag}`, async () => {
      const facts = await shared.tag(place, tag)
      if (facts === undefined) return undefined
      try {
        await manifest(place, facts.digest)
      } catch {
        return undefined
      }
      memory.setTag(place, tag, facts.digest, facts.checkedAt)
      return facts
    })
  }
}

/**
 * What a tag means by HEAD alone, which costs no pull: one that has moved is served as it was. Undefined
 * where that is not in the cache any more.
 */
function createSparing({ memory }: Context, manifests: Manifests, source: ManifestSource) {
  const { held, counted } = manifests
  return async (place: Place, tag: string, before: Digest): Promise<FoundManifest | undefined> => {
    const found = await held(place, before)
    if (found === undefined) return undefined
    const now = await source.resolve(place, tag)
    if (now !== before) return { ...counted(found), stale: true }
    memory.setTag(place, tag, before)
    return counted(found)
  }
}

/** For whoever fetches what a tag has come to mean before others get it. */
export function createTagResolver(
  { outages }: Pick<Context, 'outages'>,
  source: ManifestSource,
): Cache['resolveTag'] {
  return async (place, tag) => {
    outages.assertOnline(place)
    return source.resolve(place, tag)
  }
}
