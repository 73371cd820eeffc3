// Blobs: from memory, from disk, from a download that is joined or started; never without a link.
import { GatewayError } from '../errors.ts'
import { isDigestOfNothing, type Digest } from '../oci/digest.ts'
import type { OriginResponse } from '../oci/origin.ts'
import type { Place } from '../oci/place.ts'
import type { Cache, Content, Found, Source } from './cache.ts'
import { ask, askHeaders, badResponse, digestMismatch, lengthOf } from './ask.ts'
import type { Fill } from './fill/fill.ts'
import type { Fills } from './fill/fills.ts'
import { linkKey, placeKey } from './memory.ts'
import type { Context } from './context.ts'
import { createSingleFlight } from './single-flight.ts'

export function createBlobs(context: Context, fills: Fills): Pick<Cache, 'blob' | 'blobSize'> {
  const { memory, disk, index, metrics, outages } = context
  const confirm = createConfirmation(context)

  function hit(digest: Digest, content: Content, source: Source): Found {
    metrics.lookup('hit')
    memory.touch(digest)
    return { content, source }
  }

  function isLinked(place: Place, digest: Digest): boolean {
    return memory.isLinked(place, digest, 'blob')
  }

  async function missed(place: Place, digest: Digest): Promise<Found> {
    if (!isLinked(place, digest) && isElsewhere(place, digest)) {
      outages.assertOnline()
      await confirm(place, digest)
      const content = await disk.content(digest)
      if (content !== undefined) return hit(digest, content, 'disk')
    }
    metrics.lookup('miss')
    return filled(place, digest)
  }

  /** The cache has it, or is fetching it, for another repository. */
  function isElsewhere(place: Place, digest: Digest): boolean {
    const fill = fills.running(digest)
    if (fill !== undefined) return !isOf(fill, place)
    return index.content(digest) !== undefined
  }

  async function filled(place: Place, digest: Digest): Promise<Found> {
    const running = fills.running(digest)
    if (running !== undefined) {
      try {
        const found = await followed(running)
        metrics.coalesced()
        return found
      } catch (error) {
        // It failed for the repository that started it, which says nothing about this one.
        if (isOf(running, place)) throw error
      }
    }
    outages.assertOnline()
    return followed(fills.running(digest) ?? fills.start(place, digest))
  }

  async function size(place: Place, digest: Digest): Promise<{ size: number; source: Source }> {
    outages.assertOnline()
    const told = await confirm(place, digest)
    if (told !== undefined) return { size: told, source: 'upstream' }
    // The upstream does not say: only the end of the download will tell.
    const { content } = await filled(place, digest)
    return { size: await lengthOfAll(content), source: 'fill' }
  }

  return {
    blob(place, digest) {
      if (!isLinked(place, digest)) return missed(place, digest)
      const small = memory.small(digest)
      if (small !== undefined) return hit(digest, small, 'memory')
      const content = disk.content(digest)
      if (!(content instanceof Promise)) {
        return content === undefined ? missed(place, digest) : hit(digest, content, 'disk')
      }
      return content.then((found) =>
        found === undefined ? missed(place, digest) : hit(digest, found, 'disk'),
      )
    },
    blobSize(place, digest) {
      if (!isLinked(place, digest)) return size(place, digest)
      const small = memory.small(digest)
      if (small !== undefined) return { size: small.bytes.length, source: 'memory' }
      const facts = index.content(digest)
      return facts === undefined ? size(place, digest) : { size: facts.size, source: 'disk' }
    },
  }
}

async function followed(fill: Fill): Promise<Found> {
  const content = fill.follow()
  try {
    await fill.started
    return { content, source: 'fill' }
  } catch (error) {
    content.close()
    throw error
  }
}

function isOf({ place }: Fill, other: Place): boolean {
  return placeKey(place) === placeKey(other)
}

type Confirm = (place: Place, digest: Digest) => Promise<number | undefined>

/** Asks whether the repository holds the blob, links it, and tells its size if the upstream does. */
function createConfirmation({ memory, openUpstream }: Context): Confirm {
  const share = createSingleFlight()

  async function askOne(place: Place, digest: Digest): Promise<number | undefined> {
    const { upstream, repository } = place
    const request = { upstream, repository, resource: `blobs/${digest}` }
    const answer =
      (await askUnlessRefused(async () => {
        const head = await ask(openUpstream, { ...request, method: 'HEAD' }, 0)
        return isWrongLength(head, digest) ? { ...head, status: 405 } : head
      })) ?? (await askHeaders(openUpstream, { ...request, method: 'GET' }))
    if (isWrongLength(answer, digest)) throw digestMismatch()
    if (answer.status === 404) {
      throw new GatewayError('BLOB_UNKNOWN', 'the upstream has no such blob in this repository')
    }
    if (answer.status !== 200) throw badResponse(`status ${answer.status} to a blob`)
    memory.link(place, digest, 'blob')
    return lengthOf(answer)
  }

  return async (place, digest) => share(linkKey(place, digest), async () => askOne(place, digest))
}

/** Some answer HEAD with a length of 0; of a GET it means that the blob is wrong. */
function isWrongLength(answer: OriginResponse, digest: Digest): boolean {
  return answer.status === 200 && lengthOf(answer) === 0 && !isDigestOfNothing(digest)
}

/** undefined: HEAD is refused, as some registries do although GET works. */
async function askUnlessRefused<Answer extends { status: number }>(
  head: () => Promise<Answer>,
): Promise<Answer | undefined> {
  try {
    const answer = await head()
    return answer.status === 405 ? undefined : answer
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'DENIED') return undefined
    throw error
  }
}

async function lengthOfAll(content: Content): Promise<number> {
  if (content.kind === 'small') return content.bytes.length
  try {
    const buffer = Buffer.allocUnsafe(256 * 1024)
    for (let position = 0; ;) {
      const bytes = await content.read(buffer, position)
      if (bytes === 0) return position
      position += bytes
    }
  } finally {
    content.close()
  }
}
