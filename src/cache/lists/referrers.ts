// What refers to a manifest: as the upstream lists it now, or what is known while it cannot be asked.
import type { Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'
import type { Cache, Descriptor, Listed } from '../cache.ts'
import type { Context } from '../context.ts'
import type { Manifests } from '../manifests.ts'
import { listTtl } from '../freshness/tag-ttl.ts'
import { linkKey } from '../memory.ts'
import { createSingleFlight } from '../single-flight.ts'
import { descriptorOf } from './descriptors.ts'
import { createListMemory } from './list-memory.ts'
import type { AskPages } from './paged-list.ts'
import { createReferrersSource } from './referrers-source.ts'

/** Of a list that is kept for when nobody can be asked, bytes. */
const keptLimit = 256 * 1024

export function createReferrers(
  context: Context,
  manifests: Manifests,
  askPages: AskPages,
): Cache['referrers'] {
  const { index, memory, outages, shared, freshnessOf, now } = context
  const askReferrers = createReferrersSource(context, manifests, askPages)
  const share = createSingleFlight()
  const lists = createListMemory<Descriptor>(now)

  /** Of manifests that the repository has: a client can invent digests without end. */
  function keep(place: Place, digest: Digest, entries: Descriptor[]): void {
    if (!memory.isLinked(place, digest, 'manifest')) return
    if (entries.length === 0 && index.referrers(place, digest) === undefined) return
    const body = JSON.stringify(entries)
    if (body.length > keptLimit) return
    index.setReferrers(place, digest, body, now())
    shared?.noteReferrers(place, digest)
  }

  async function asked(place: Place, digest: Digest): Promise<Listed<Descriptor>> {
    const { entries, bytes } = await askReferrers(place, digest)
    lists.keep(linkKey(place, digest), entries, bytes)
    keep(place, digest, entries)
    return { entries, source: 'upstream', stale: false }
  }

  async function held(
    place: Place,
    digest: Digest,
    longest: number,
  ): Promise<Listed<Descriptor> | undefined> {
    if (longest <= 0) return undefined
    const kept = index.referrers(place, digest) ?? (await shared?.referrers(place, digest))
    const entries =
      kept === undefined
        ? await heldReferrers(context, manifests, place, digest)
        : (JSON.parse(kept.body) as Descriptor[])
    const isKnown = kept !== undefined || memory.isLinked(place, digest, 'manifest')
    if (!isKnown && entries.length === 0) return undefined
    return { entries, source: 'disk', stale: true }
  }

  return async (place, digest) => {
    const key = linkKey(place, digest)
    const entries = lists.fresh(key, listTtl(freshnessOf(place.upstream).tagTtl))
    if (entries !== undefined) return { entries, source: 'memory', stale: false }
    return share(key, async () =>
      outages.orStale(
        place,
        async () => asked(place, digest),
        async (longest) => held(place, digest, longest),
      ),
    )
  }
}

/** The manifests of this repository in the cache whose subject it is. */
async function heldReferrers(
  { index }: Context,
  { held }: Manifests,
  place: Place,
  digest: Digest,
): Promise<Descriptor[]> {
  const found = await Promise.all(
    index.parentsOf(digest, 'subject').map(async (parent) => held(place, parent)),
  )
  return found
    .filter((manifest) => manifest !== undefined)
    .map(({ content: { digest: own, mediaType, bytes } }) => {
      const { artifactType, config, annotations } = JSON.parse(bytes.toString()) as {
        artifactType?: unknown
        config?: { mediaType?: unknown }
        annotations?: unknown
      }
      const type = artifactType ?? config?.mediaType
      const size = bytes.length
      return descriptorOf({ mediaType, digest: own, size, artifactType: type, annotations })
    })
    .filter((descriptor) => descriptor !== undefined)
}
