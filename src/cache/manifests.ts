// Manifests by digest: from memory, from disk, from upstream.
import { type Digest, algorithmOf, digestOf, isDigest } from '../oci/digest.ts'
import { isOfRegistry } from '../oci/error-body.ts'
import { requestAt, type Place } from '../oci/place.ts'
import type { Found, Small } from './cache.ts'
import type { Context } from './context.ts'
import { GatewayError } from '../errors.ts'
import { childSizes, manifestLimit, readManifest, type ManifestFacts } from '../oci/manifest.ts'
import { isManifestOf, manifestDigestOf } from '../oci/schema1.ts'
import { manifestAccept } from '../oci/media-type.ts'
import { createWay, type OriginRequest, type Way } from '../oci/origin.ts'
import {
  ask,
  BadAnswer,
  badResponse,
  digestMismatch,
  lengthOf,
  type CollectedAnswer,
} from './ask.ts'
import { linkKey, placeKey } from './memory.ts'
import { createSingleFlight } from './single-flight.ts'

export type FoundManifest = Found<Small>
type Sync<T> = T | Promise<T>

export interface Manifests {
  manifest: (place: Place, digest: Digest) => Sync<FoundManifest>
  /** What the cache holds and the repository is known to hold; not counted as a look-up. */
  held: (place: Place, digest: Digest) => Sync<FoundManifest | undefined>
  /** From the upstream, by digest or by tag; a hit where that says that it is still `known`. */
  fetched: (place: Place, reference: string, known?: FoundManifest) => Promise<FoundManifest>
  /** Counts a hit. */
  counted: (found: FoundManifest) => FoundManifest
}

export function createManifests(context: Context, source: ManifestSource): Manifests {
  const { memory, disk, index, metrics, outages, negatives, typed, report } = context

  /** What the repository is known to hold, and the cache too. */
  function held(place: Place, digest: Digest): Sync<FoundManifest | undefined> {
    if (!memory.isLinked(place, digest, 'manifest')) return undefined
    memory.touch(digest)
    const small = memory.small(digest)
    if (small !== undefined && typed.has(small)) return { content: small, source: 'memory' }
    return stored(digest)
  }

  async function stored(digest: Digest): Promise<FoundManifest | undefined> {
    const content = (await disk.manifest(digest)) ?? (await storedSigned(digest))
    const right = content && withOwnType(content)
    return right && { content: right, source: 'disk' }
  }

  /** One that is stored by the digest of its bytes, and has another. */
  async function storedSigned(digest: Digest): Promise<Small | undefined> {
    const [child] = index.childrenOf(digest, 'signed')
    const content = child && (await disk.manifest(child))
    return content && isManifestOf(content.bytes, digest) ? { ...content, digest } : undefined
  }

  /** Whoever brought the content says nothing of its type: the content itself does. */
  function withOwnType(content: Small): Small | undefined {
    try {
      const { mediaType } = readManifest(content.bytes)
      const right = content.mediaType === mediaType ? content : { ...content, mediaType }
      const facts = index.content(content.digest)
      if (right !== content && facts !== undefined) {
        memory.stored(content.digest, { ...facts, mediaType })
      }
      typed.add(right)
      memory.keep(right)
      return right
    } catch (error) {
      // It would not be taken from an upstream either.
      if (error instanceof GatewayError) return undefined
      throw error
    }
  }

  async function fetched(
    place: Place,
    reference: string,
    known?: FoundManifest,
  ): Promise<FoundManifest> {
    if (known === undefined) metrics.lookup('miss')
    outages.assertOnline(place)
    const content = await negatives.orAsk(place, `manifests/${reference}`, async () =>
      source.fetch(place, reference, known?.content),
    )
    if (content === known?.content) return counted(known)
    if (known !== undefined) metrics.lookup('miss')
    return { content, source: 'upstream' }
  }

  function counted(found: FoundManifest): FoundManifest {
    metrics.lookup('hit')
    return found
  }

  async function byDigest(place: Place, digest: Digest): Promise<FoundManifest> {
    try {
      return await fetched(place, digest)
    } catch (error) {
      if (error instanceof BadAnswer) report(place.upstream, error)
      throw error
    }
  }

  function manifest(place: Place, digest: Digest): Sync<FoundManifest> {
    const known = held(place, digest)
    if (known instanceof Promise) {
      return known.then((found) => (found ? counted(found) : byDigest(place, digest)))
    }
    return known ? counted(known) : byDigest(place, digest)
  }

  return { manifest, held, fetched, counted }
}

export interface ManifestSource {
  /**
   * MANIFEST_UNKNOWN where the upstream has none, with the reason `notOfRegistry` where something
   * else may have said so. One request, however many want it. `known` is given back where it is
   * still that.
   */
  fetch: (place: Place, reference: string, known?: Small) => Promise<Small>
  /** Whether it is being fetched from the upstream itself. */
  isFetching: (place: Place, digest: Digest) => boolean
  /** The digest that HEAD has for a tag now; undefined where it does not say. */
  resolve: (place: Place, tag: string) => Promise<Digest | undefined>
}

/** The 404 has nothing of what a registry answers. */
export const notOfRegistry = 'not_of_registry'

export function createManifestSource(context: Context): ManifestSource {
  const { memory, index, smallStore, room, negatives, metrics } = context
  const { openUpstream, background, typed } = context
  const share = createSingleFlight(metrics.coalesced)
  /** Of what is being fetched by its digest. */
  const ways = new Map<string, Way>()

  async function get(place: Place, reference: string, known?: Small): Promise<Small> {
    if (!isDigest(reference)) return asked(place, reference, { unless: known })
    const key = linkKey(place, reference)
    const way = createWay()
    ways.set(key, way)
    try {
      return await asked(place, reference, { way })
    } finally {
      ways.delete(key)
    }
  }

  async function asked(
    place: Place,
    reference: string,
    { unless: known, way }: { unless?: Small | undefined; way?: Way },
  ): Promise<Small> {
    const request: OriginRequest = {
      ...requestFor('GET', place, reference),
      ...(known && { unless: known.digest }),
      ...(way && { way }),
    }
    const asks = async () => ask(openUpstream, request, manifestLimit)
    const first = await asks()
    // Without a length nobody can tell a body that was cut off from one that is wrong.
    const answer = mayBeCut(first, reference) ? await asks() : first
    if (answer.status === 304 && known !== undefined) return known
    if (answer.status === 404) throw manifestUnknown(answer)
    if (answer.status !== 200) throw badResponse(`status ${answer.status} to a manifest`, answer)
    const digest = digestIn(answer, reference)
    if (!isManifestOf(answer.body, digest)) throw digestMismatch(answer)
    const facts = factsOf(answer)
    const { mediaType } = facts
    const small: Small = { kind: 'small', digest, mediaType, bytes: answer.body }
    return keep(place, small, facts)
  }

  /** The client does not wait for the disk. */
  function keep(place: Place, small: Small, facts: ManifestFacts): Small {
    const { digest } = small
    const held = memory.small(digest)
    const kept = held !== undefined && typed.has(held) ? held : small
    typed.add(kept)
    memory.keep(kept)
    memory.link(place, digest, 'manifest')
    index.addEdges(digest, facts.children)
    for (const child of facts.children) negatives.forget(place, child)
    if (facts.subject !== undefined) index.addEdges(digest, [facts.subject], 'subject')
    room.expect(() => bytesToCome(kept.bytes))
    const bytesDigest = digestOf(kept.bytes, algorithmOf(digest))
    if (bytesDigest !== digest) {
      index.addEdges(digest, [bytesDigest], 'signed')
      index.addEdges(bytesDigest, facts.children)
    }
    background(smallStore.put({ ...kept, digest: bytesDigest }))
    return kept
  }

  /** What is not there yet of what it lists. */
  function bytesToCome(bytes: Buffer): number {
    let sum = 0
    for (const [digest, size] of childSizes(bytes)) {
      if (index.content(digest) === undefined) sum += size
    }
    return sum
  }

  return {
    fetch: async (place, reference, known) =>
      share(`${placeKey(place)} ${reference} ${known?.digest ?? ''}`, async () =>
        get(place, reference, known),
      ),
    isFetching: (place, digest) => ways.get(linkKey(place, digest))?.isOwn === true,
    async resolve(place, tag) {
      const { status, headers } = await ask(openUpstream, requestFor('HEAD', place, tag), 0)
      const digest = headers['docker-content-digest'] ?? ''
      return status === 200 && isDigest(digest) ? digest : undefined
    },
  }
}

function requestFor(method: 'GET' | 'HEAD', place: Place, reference: string): OriginRequest {
  const resource = `manifests/${reference}`
  return { ...requestAt(place), method, resource, accept: manifestAccept }
}

/** What the bytes have to hash to. */
function digestIn({ headers, body }: CollectedAnswer, reference: string): Digest {
  if (isDigest(reference)) return reference
  const told = headers['docker-content-digest'] ?? ''
  return isDigest(told) ? told : manifestDigestOf(body)
}

function mayBeCut(answer: CollectedAnswer, reference: string): boolean {
  if (answer.status !== 200 || lengthOf(answer) !== undefined) return false
  return !isManifestOf(answer.body, digestIn(answer, reference))
}

function factsOf(answer: CollectedAnswer): ManifestFacts {
  try {
    return readManifest(answer.body)
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    throw badResponse(`what is no manifest: ${error.message}`, answer, error)
  }
}

function manifestUnknown(answer: CollectedAnswer): GatewayError {
  return new GatewayError(
    'MANIFEST_UNKNOWN',
    'the upstream has no such manifest in this repository',
    isOfRegistry(answer) ? { blame: { status: 404 } } : { reason: notOfRegistry },
  )
}
