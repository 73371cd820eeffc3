// Blobs: from memory, from disk, from a download that is joined or started; never without a link.
import type { Digest } from '../oci/digest.ts'
import type { Place } from '../oci/place.ts'
import type { Cache, Content, Found, Large, Small, Source } from './cache.ts'
import type { Confirmation } from './confirmation.ts'
import type { Fill } from './fill/fill.ts'
import type { Fills } from './fill/fills.ts'
import { placeKey } from './memory.ts'
import type { Context } from './context.ts'
import { blobType } from './disk/trusted-file.ts'
import { withRefill } from './disk/refill.ts'

type Blobs = Pick<Cache, 'blob' | 'blobSize' | 'isStored'>

export function createBlobs(context: Context, fills: Fills, confirmation: Confirmation): Blobs {
  const { memory, disk, index, metrics, outages, negatives } = context
  const asBlob = createBlobView()

  function hit(digest: Digest, content: Content, source: Source): Found {
    metrics.lookup('hit')
    memory.touch(digest)
    return { content: asBlob(content), source }
  }

  function stored(place: Place, digest: Digest, content: Content): Found {
    const refill = async () => filled(place, digest)
    return hit(digest, content.kind === 'small' ? content : withRefill(content, refill), 'disk')
  }

  function isLinked(place: Place, digest: Digest): boolean {
    return memory.isLinked(place, digest, 'blob')
  }

  async function missed(place: Place, digest: Digest): Promise<Found> {
    return negatives.orAsk(place, `blobs/${digest}`, async () => asked(place, digest))
  }

  async function asked(place: Place, digest: Digest): Promise<Found> {
    if (!isLinked(place, digest) && isElsewhere(context, fills, place, digest)) {
      outages.assertOnline(place)
      if (!(await isProven(place, digest))) return delivered(place, digest)
      const content = await disk.content(digest)
      if (content !== undefined) return stored(place, digest, content)
    }
    metrics.lookup('miss')
    return filled(place, digest)
  }

  async function isProven(place: Place, digest: Digest): Promise<boolean> {
    const isItsOwn = isBroughtBy(context, fills, place, digest)
    return isItsOwn && confirmation.holds(place, digest, index.content(digest)?.size)
  }

  /** Downloads it, though others have it: that its upstream sends it proves that it may be had there. */
  async function delivered(place: Place, digest: Digest): Promise<Found> {
    metrics.lookup('miss')
    return followed(fills.running(digest, place) ?? fills.start(place, digest), place)
  }

  async function filled(place: Place, digest: Digest): Promise<Found<Large>> {
    const running = fills.running(digest)
    if (running !== undefined) {
      try {
        const found = await followed(running, place)
        metrics.coalesced()
        return found
      } catch (error) {
        // It failed for the repository that started it, which says nothing about this one.
        if (isOf(running, place)) throw error
      }
    }
    outages.assertOnline(place)
    return followed(fills.running(digest) ?? fills.start(place, digest), place)
  }

  async function size(place: Place, digest: Digest): Promise<{ size: number; source: Source }> {
    outages.assertOnline(place)
    const told = await negatives.orAsk(place, `blobs/${digest}`, async () =>
      confirmation.size(place, digest),
    )
    if (told !== undefined) return { size: told, source: 'upstream' }
    const { content } = await missed(place, digest)
    return { size: await lengthOfAll(content), source: 'fill' }
  }

  return {
    isStored: async (digest) => isStored(context, fills, digest),
    blob(place, digest) {
      if (!isLinked(place, digest)) return missed(place, digest)
      const small = memory.small(digest)
      if (small !== undefined) return hit(digest, small, 'memory')
      return whenThere(disk.content(digest), (found) =>
        found === undefined ? missed(place, digest) : stored(place, digest, found),
      )
    },
    blobSize(place, digest) {
      if (!isLinked(place, digest)) return size(place, digest)
      const small = memory.small(digest)
      if (small !== undefined) return { size: small.bytes.length, source: 'memory' }
      return whenThere(disk.content(digest), (found) =>
        found === undefined ? size(place, digest) : sizeOnDisk(found),
      )
    },
  }
}

/** A blob is bytes: it has no type that somebody else could have given it. */
function createBlobView(): (content: Content) => Content {
  /** The same object at every hit. */
  const views = new WeakMap<Small, Small>()
  return (content) => {
    if (content.mediaType === blobType) return content
    if (content.kind === 'large') return { ...content, mediaType: blobType }
    const known = views.get(content)
    if (known !== undefined) return known
    const view = { ...content, mediaType: blobType }
    views.set(content, view)
    return view
  }
}

async function isStored({ index }: Context, fills: Fills, digest: Digest): Promise<boolean> {
  await fills.running(digest)?.ended
  return index.content(digest) !== undefined
}

/** The cache has it, or is fetching it, for another repository. */
function isElsewhere({ index }: Context, fills: Fills, place: Place, digest: Digest): boolean {
  if (fills.running(digest, place) !== undefined) return false
  return fills.running(digest) !== undefined || index.content(digest) !== undefined
}

/** Its upstream has brought it once, or is bringing it. */
function isBroughtBy({ index }: Context, fills: Fills, place: Place, digest: Digest): boolean {
  const { upstream } = place
  return fills.running(digest)?.place.upstream === upstream || index.isLinkedBy(upstream, digest)
}

/** At once where it is there already. */
function whenThere<T, R>(value: T | Promise<T>, use: (value: T) => R | Promise<R>): R | Promise<R> {
  return value instanceof Promise ? value.then(use) : use(value)
}

/** HEAD opens it as GET would: what cannot be read is not there. */
function sizeOnDisk(content: Content): { size: number; source: Source } {
  if (content.kind === 'small') return { size: content.bytes.length, source: 'disk' }
  content.close()
  return { size: content.size ?? 0, source: 'disk' }
}

async function followed(fill: Fill, place: Place): Promise<Found<Large>> {
  const content = fill.follow(place)
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

/** Where the upstream does not say how long it is, only the end of the download will tell. */
async function lengthOfAll(content: Content): Promise<number> {
  if (content.kind === 'small') return content.bytes.length
  try {
    if (content.size !== undefined) return content.size
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
