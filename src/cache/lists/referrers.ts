// What refers to a manifest: by the referrers API, by the fallback tag, or by what the cache holds.
import { LRUCache } from 'lru-cache'
import { algorithmOf, hexOf, isDigest, type Digest } from '../../oci/digest.ts'
import { manifestLimit } from '../../oci/manifest.ts'
import { manifestAccept, mediaTypes } from '../../oci/media-type.ts'
import type { Place } from '../../oci/place.ts'
import type { Cache, Descriptor, Listed } from '../cache.ts'
import { ask, badResponse } from '../ask.ts'
import { askPages, objectIn } from './paged-list.ts'
import type { Manifests } from '../manifests.ts'
import { linkKey } from '../memory.ts'
import type { Context } from '../context.ts'
import { createSingleFlight } from '../single-flight.ts'
import { listFreshFor } from './tag-list.ts'

/** Descriptors in memory, at most. */
const maxListed = 10_000

export function createReferrers(context: Context, manifests: Manifests): Cache['referrers'] {
  const { index, memory, outages, now } = context
  const share = createSingleFlight()
  const lists = new LRUCache<string, { at: number; entries: readonly Descriptor[] }>({
    maxSize: maxListed,
    sizeCalculation: ({ entries }) => entries.length + 1,
  })

  /** A list that is empty, as it is of whatever a client invents, leaves no trace. */
  function keep(place: Place, digest: Digest, entries: Descriptor[]): void {
    if (entries.length === 0 && index.referrers(place, digest) === undefined) return
    index.setReferrers(place, digest, JSON.stringify(entries), now())
  }

  async function asked(place: Place, digest: Digest): Promise<Listed<Descriptor>> {
    const entries = await askReferrers(context, place, digest)
    lists.set(linkKey(place, digest), { at: now(), entries })
    keep(place, digest, entries)
    return { entries, source: 'upstream', stale: false }
  }

  async function held(
    place: Place,
    digest: Digest,
    longest: number,
  ): Promise<Listed<Descriptor> | undefined> {
    if (longest <= 0) return undefined
    const kept = index.referrers(place, digest)
    const entries =
      kept === undefined
        ? await heldReferrers(context, manifests, place, digest)
        : (JSON.parse(kept.body) as Descriptor[])
    const isKnown = kept !== undefined || memory.isLinked(place, digest, 'manifest')
    if (!isKnown && entries.length === 0) return undefined
    return { entries, source: 'disk', stale: true }
  }

  return async (place, digest) => {
    const known = lists.get(linkKey(place, digest))
    if (known !== undefined && Math.abs(now() - known.at) < listFreshFor) {
      return { entries: known.entries, source: 'memory', stale: false }
    }
    return share(linkKey(place, digest), async () =>
      outages.orStale(
        place,
        async () => asked(place, digest),
        async (longest) => held(place, digest, longest),
      ),
    )
  }
}

async function askReferrers(context: Context, place: Place, digest: Digest): Promise<Descriptor[]> {
  const resource = `referrers/${digest}`
  const accept = mediaTypes.ociIndex
  const { status, pages } = await askPages(context, place, { resource, query: '', accept })
  if (status === 404 || status === 405) return askFallbackTag(context, place, digest)
  if (status !== 200) throw badResponse(`status ${status} to a list of referrers`)
  return pages.flatMap(descriptorsIn)
}

/** Registries without the API: an index under the tag `sha256-<hex>` (distribution-spec). */
async function askFallbackTag(
  { openUpstream }: Context,
  { upstream, repository, client }: Place,
  digest: Digest,
): Promise<Descriptor[]> {
  const resource = `manifests/${algorithmOf(digest)}-${hexOf(digest)}`
  const answer = await ask(
    openUpstream,
    { upstream, repository, client, method: 'GET', resource, accept: manifestAccept },
    manifestLimit,
  )
  if (answer.status === 404) return []
  if (answer.status !== 200) throw badResponse(`status ${answer.status} to a fallback tag`)
  return descriptorsIn(objectIn(answer.body))
}

function descriptorsIn({ manifests }: Record<string, unknown>): Descriptor[] {
  if (!Array.isArray(manifests)) throw badResponse('a list of referrers that is none')
  return manifests.map(descriptorOf)
}

function descriptorOf(value: unknown): Descriptor {
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<
    string,
    unknown
  >
  const { mediaType, digest, size, artifactType, annotations } = fields
  if (typeof mediaType !== 'string' || typeof digest !== 'string' || !isDigest(digest)) {
    throw badResponse('a referrer without media type or digest')
  }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw badResponse('a referrer without a size')
  }
  const noted = annotationsIn(annotations)
  return {
    mediaType,
    digest,
    size,
    ...(typeof artifactType === 'string' ? { artifactType } : {}),
    ...(noted === undefined ? {} : { annotations: noted }),
  }
}

function annotationsIn(value: unknown): Record<string, string> | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const texts = Object.entries(value).filter(([, text]) => typeof text === 'string')
  return Object.fromEntries(texts) as Record<string, string>
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
  return found.flatMap((manifest) => {
    if (manifest === undefined) return []
    const { digest, mediaType, bytes } = manifest.content
    const { artifactType, config, annotations } = JSON.parse(bytes.toString()) as {
      artifactType?: unknown
      config?: { mediaType?: unknown }
      annotations?: unknown
    }
    return descriptorOf({
      mediaType,
      digest,
      size: bytes.length,
      artifactType: artifactType ?? config?.mediaType,
      annotations,
    })
  })
}
