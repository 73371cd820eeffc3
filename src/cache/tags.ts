// Tags: served while they are fresh, revalidated after that, and served stale in an outage.
import { GatewayError } from '../errors.ts'
import type { Place } from '../oci/place.ts'
import type { TagFacts } from './index/content-index.ts'
import type { ManifestSource, FoundManifest, Manifests } from './manifests.ts'
import { placeKey } from './memory.ts'
import type { Context } from './context.ts'
import { createSingleFlight } from './single-flight.ts'

type Tag = (place: Place, tag: string) => FoundManifest | Promise<FoundManifest>

export function createTags(context: Context, manifests: Manifests, source: ManifestSource): Tag {
  const { memory, outages, freshnessOf, now } = context
  const { manifest, held, fetched, counted } = manifests
  const share = createSingleFlight()

  function isFresh({ checkedAt }: TagFacts, upstream: string): boolean {
    const age = now() - checkedAt
    return age >= 0 && age < freshnessOf(upstream).tagTtl
  }

  async function byTag(place: Place, tag: string): Promise<FoundManifest> {
    try {
      const found = await fetched(place, tag)
      memory.setTag(place, tag, found.content.digest)
      return found
    } catch (error) {
      throw forgetting(place, tag, error)
    }
  }

  function forgetting(place: Place, tag: string, error: unknown): unknown {
    const isGone = error instanceof GatewayError && error.code === 'MANIFEST_UNKNOWN'
    if (isGone) memory.dropTag(place, tag)
    return error
  }

  /** Asks whether the tag still means the same. */
  async function revalidated(place: Place, tag: string): Promise<FoundManifest> {
    const digest = await source.resolve(place, tag).catch((error: unknown) => {
      throw forgetting(place, tag, error)
    })
    const known = digest === undefined ? undefined : await held(place, digest)
    if (digest === undefined || known === undefined) return byTag(place, tag)
    memory.setTag(place, tag, digest)
    return counted(known)
  }

  /** What the tag meant, as long as that may be served without asking. */
  async function stale(place: Place, known: TagFacts): Promise<FoundManifest | undefined> {
    const found = isServable(place, known) ? await held(place, known.digest) : undefined
    return found && { ...counted(found), stale: true }
  }

  function isServable({ upstream }: Place, { checkedAt }: TagFacts): boolean {
    const { tagTtl, staleIfError } = freshnessOf(upstream)
    return outages.isOffline() || now() - checkedAt < tagTtl + staleIfError
  }

  return (place, tag) => {
    const known = memory.tag(place, tag)
    if (known === undefined) {
      return outages.orStale(
        place.upstream,
        async () => byTag(place, tag),
        async () => undefined,
      )
    }
    if (isFresh(known, place.upstream)) return manifest(place, known.digest)
    return share(`${placeKey(place)} ${tag}`, async () =>
      outages.orStale(
        place.upstream,
        async () => revalidated(place, tag),
        async () => stale(place, known),
      ),
    )
  }
}
