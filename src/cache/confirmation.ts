// Asks an upstream about a blob without its bytes: how large it is, and whether a repository that has
// not brought it may have what the cache holds.
import { isDigestOfNothing, type Digest } from '../oci/digest.ts'
import { bareMediaType, isWebPage } from '../oci/media-type.ts'
import type { OriginResponse } from '../oci/origin.ts'
import { requestAt, type Place } from '../oci/place.ts'
import { ask, askHeaders, badResponse, blobUnknown, isEncoded, lengthOf } from './ask.ts'
import type { Context } from './context.ts'
import type { ForeignLayers } from './foreign-layers.ts'
import { linkKey } from './memory.ts'
import { createSingleFlight } from './single-flight.ts'

export interface Confirmation {
  /**
   * Whether it is proven without the bytes that the repository holds the blob, which is linked then.
   * An upstream is believed of what it has brought itself, and of nothing else: its word would open
   * what the cache holds of others.
   * @param size that of the blob, as far as it is known
   * @throws GatewayError BLOB_UNKNOWN
   */
  holds: (place: Place, digest: Digest, size: number | undefined) => Promise<boolean>
  /** In bytes, as the upstream has it; undefined where it does not say, or others may. BLOB_UNKNOWN. */
  size: (place: Place, digest: Digest) => Promise<number | undefined>
}

export function createConfirmation(
  { memory, heads, openUpstream }: Context,
  { orElsewhere }: Pick<ForeignLayers, 'orElsewhere'>,
): Confirmation {
  const share = createSingleFlight()

  async function asked(place: Place, digest: Digest): Promise<OriginResponse> {
    const request = { ...requestAt(place), resource: `blobs/${digest}` }
    return heads.orGet(place.upstream, 'blob', {
      async head() {
        const answer = await ask(openUpstream, { ...request, method: 'HEAD' }, 0)
        return answer.status === 200 && isPlausible(answer, digest) ? answer : undefined
      },
      async get() {
        const answer = await askHeaders(openUpstream, { ...request, method: 'GET' })
        if (answer.status === 404) throw blobUnknown(answer)
        if (answer.status !== 200) throw badResponse(`status ${answer.status} to a blob`, answer)
        if (!isPlausible(answer, digest)) throw badResponse('what is no blob', answer)
        return answer
      },
    })
  }

  /** What is wanted at once is asked once. */
  async function lengthAt(place: Place, digest: Digest): Promise<number | undefined> {
    return share(linkKey(place, digest), async () => {
      const answer = await asked(place, digest)
      return isEncoded(answer) ? undefined : lengthOf(answer)
    })
  }

  async function holds(place: Place, digest: Digest, size: number | undefined): Promise<boolean> {
    const told = await lengthAt(place, digest)
    if (told !== undefined && size !== undefined && told !== size) return false
    memory.link(place, digest, 'blob')
    return true
  }

  return {
    holds: async (place, digest, size) =>
      (await orElsewhere(place, digest, holds(place, digest, size))) === true,
    size: async (place, digest) => orElsewhere(place, digest, lengthAt(place, digest)),
  }
}

/** Neither empty nor a web page, as whatever stands in front of a registry may send it. */
function isPlausible(answer: OriginResponse, digest: Digest): boolean {
  if (isWebPage(bareMediaType(answer.headers['content-type']))) return false
  return lengthOf(answer) !== 0 || isDigestOfNothing(digest)
}
