// Asks an upstream what refers to a manifest: by the referrers API, or by the fallback tag.
import { GatewayError } from '../../errors.ts'
import { algorithmOf, hexOf, type Digest } from '../../oci/digest.ts'
import { manifestLimit, readManifest } from '../../oci/manifest.ts'
import { manifestAccept, mediaTypes } from '../../oci/media-type.ts'
import type { OriginResponse } from '../../oci/origin.ts'
import { requestAt, type Place } from '../../oci/place.ts'
import { isManifestOf } from '../../oci/schema1.ts'
import type { Descriptor } from '../cache.ts'
import { ask, badResponse, type CollectedAnswer } from '../ask.ts'
import type { Context } from '../context.ts'
import type { Manifests } from '../manifests.ts'
import { descriptorOf } from './descriptors.ts'
import { objectIn } from './json-object.ts'
import type { AskPages } from './paged-list.ts'

/** Bytes of one list, at most. */
const limit = 4 * 2 ** 20
/** Entries below a fallback tag whose manifests are looked at, at most. */
const mostAsked = 50

export interface AskedReferrers {
  entries: Descriptor[]
  /** As long as it was on its way here. */
  bytes: number
}

/** A list that is none says nothing of whether there are referrers: then it rejects. */
export function createReferrersSource(
  { openUpstream, report }: Context,
  manifests: Manifests,
  askPages: AskPages,
): (place: Place, digest: Digest) => Promise<AskedReferrers> {
  async function askReferrers(place: Place, digest: Digest): Promise<AskedReferrers> {
    const answer = await askApi(place, digest)
    if (!(answer instanceof GatewayError)) return answer
    const fallback = await askFallbackTag(place, digest)
    if (fallback.entries.length === 0 && !saysUnsupported(answer)) throw answer
    return fallback
  }

  /** What the API lists, or why it does not: the fallback tag may know. */
  async function askApi(place: Place, digest: Digest): Promise<AskedReferrers | GatewayError> {
    const resource = `referrers/${digest}`
    const request = { resource, query: '', accept: mediaTypes.ociIndex, limit }
    try {
      const { status, pages, bytes, problem, answer } = await askPages(place, request)
      if (problem !== undefined) return problem
      if (status !== 200) return noList(status)
      const isList = pages.every(({ manifests: list }) => list === null || Array.isArray(list))
      if (!isList) return badResponse('a list of referrers that is none', answer)
      return { entries: pages.flatMap((page) => descriptorsIn(place, page, answer)), bytes }
    } catch (error) {
      if (error instanceof GatewayError && isAboutReferrers(error)) return error
      throw error
    }
  }

  /** Registries without the API: an index under the tag `sha256-<hex>` (distribution-spec). */
  async function askFallbackTag(place: Place, digest: Digest): Promise<AskedReferrers> {
    const none = { entries: [], bytes: 0 }
    const tag = `${algorithmOf(digest)}-${hexOf(digest).slice(0, 64)}`
    const answer = await askTag(place, tag)
    // Some read such a tag as the digest, and answer with the subject itself.
    if (answer === undefined || isManifestOf(answer.body, digest)) return none
    const document = objectIn(answer.body)
    if (document === undefined || !Array.isArray(document['manifests'])) return none
    const listed = descriptorsIn(place, document, answer)
    const entries: Descriptor[] = []
    for (const [at, entry] of listed.entries()) {
      if (at >= mostAsked || (await mayReferTo(place, entry, digest))) entries.push(entry)
    }
    return { entries, bytes: answer.body.length }
  }

  /** undefined: there is none. */
  async function askTag(place: Place, tag: string): Promise<CollectedAnswer | undefined> {
    const request = { ...requestAt(place), resource: `manifests/${tag}`, accept: manifestAccept }
    try {
      const answer = await ask(openUpstream, { ...request, method: 'GET' }, manifestLimit)
      if (answer.status === 200) return answer
      if (answer.status === 404 || answer.status === 405) return undefined
      throw badResponse(`status ${answer.status} to a fallback tag`, answer)
    } catch (error) {
      const { status } = error instanceof GatewayError ? error.blame : {}
      if (status !== undefined && [400, 406, 410].includes(status)) return undefined
      throw error
    }
  }

  /** Not where its own manifest can be had and names something else. */
  async function mayReferTo(place: Place, { digest }: Descriptor, subject: Digest) {
    try {
      const { content } = await manifests.manifest(place, digest)
      return readManifest(content.bytes).subject === subject
    } catch {
      return true
    }
  }

  /** All of them that are any; one that is broken hides none of the others. */
  function descriptorsIn(
    { upstream }: Place,
    page: Record<string, unknown>,
    answer: OriginResponse | undefined,
  ): Descriptor[] {
    const listed = (page['manifests'] ?? []) as unknown[]
    const good = listed
      .map((one) => descriptorOf(one, answer?.repeatsSecret))
      .filter((descriptor) => descriptor !== undefined)
    if (good.length === listed.length) return good
    const problem = badResponse('a referrer that is no descriptor', answer)
    if (good.length === 0) throw problem
    report(upstream, problem)
    return good
  }

  return askReferrers
}

function noList(status: number): GatewayError {
  const message = `the upstream answered with status ${status} to a list of referrers`
  const blame = { status }
  return new GatewayError('UPSTREAM_FAILED', message, { reason: 'bad_response', blame })
}

/** An answer to this request, rather than that nobody can be asked now. */
function isAboutReferrers({ code, reason, blame }: GatewayError): boolean {
  if (code === 'TOOMANYREQUESTS' || reason === 'credentials_refused') return false
  if (blame.status === undefined) return reason === 'denied'
  return ![502, 503, 504].includes(blame.status)
}

/** As registries without the API say so, in one way or another; without a fallback tag there are none. */
function saysUnsupported({ code, blame: { status = 0 } }: GatewayError): boolean {
  if (code === 'DENIED' || (status >= 300 && status < 400)) return true
  return [400, 401, 403, 404, 405, 406, 410, 415, 501].includes(status)
}
