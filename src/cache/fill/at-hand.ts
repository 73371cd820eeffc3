// Tells whether something can be had here without anything being fetched for it.
import type { Cache } from '../cache.ts'
import type { Context } from '../context.ts'
import type { ManifestSource } from '../manifests.ts'
import type { Fills } from './fills.ts'

export function createLook(
  { memory, index }: Pick<Context, 'memory' | 'index'>,
  { running }: Pick<Fills, 'running'>,
  { isFetching }: Pick<ManifestSource, 'isFetching'>,
): Cache['atHand'] {
  return (place, digest, kind) => {
    const isStored = memory.small(digest) !== undefined || index.content(digest) !== undefined
    if (isStored && memory.isLinked(place, digest, kind)) return 'here'
    if (kind === 'manifest') return isFetching(place, digest) ? 'here' : undefined
    if (running(digest, place)?.isOwn() === true) return 'here'
    return isStored && index.isLinkedBy(place.upstream, digest) ? 'elsewhere' : undefined
  }
}
