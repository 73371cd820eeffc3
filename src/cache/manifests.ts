// Manifests by digest: from memory, from disk, from upstream.
import type { Digest } from '../oci/digest.ts'
import type { Place } from '../oci/place.ts'
import type { Found, Small } from './content.ts'
import type { ManifestSource } from './manifest-source.ts'
import type { Parts } from './parts.ts'

export type FoundManifest = Found<Small>
type Sync<T> = T | Promise<T>

export interface Manifests {
  manifest: (place: Place, digest: Digest) => Sync<FoundManifest>
  /** What the cache holds and the repository is known to hold; not counted as a look-up. */
  held: (place: Place, digest: Digest) => Sync<FoundManifest | undefined>
  /** From the upstream, by digest or by tag; counted as a miss. */
  fetched: (place: Place, reference: string) => Promise<FoundManifest>
  /** Counts a hit. */
  counted: (found: FoundManifest) => FoundManifest
}

export function createManifests(parts: Parts, source: ManifestSource): Manifests {
  const { memory, disk, metrics, outages } = parts

  /** What the repository is known to hold, and the cache too. */
  function held(place: Place, digest: Digest): Sync<FoundManifest | undefined> {
    if (!memory.isLinked(place, digest, 'manifest')) return undefined
    memory.touch(digest)
    const small = memory.small(digest)
    if (small !== undefined) return { content: small, source: 'memory' }
    const stored = disk.manifest(digest)
    return stored instanceof Promise
      ? stored.then((content) => content && { content, source: 'disk' })
      : stored && { content: stored, source: 'disk' }
  }

  async function fetched(place: Place, reference: string): Promise<FoundManifest> {
    metrics.lookup('miss')
    outages.assertOnline()
    return { content: await source.fetch(place, reference), source: 'upstream' }
  }

  function counted(found: FoundManifest): FoundManifest {
    metrics.lookup('hit')
    return found
  }

  function manifest(place: Place, digest: Digest): Sync<FoundManifest> {
    const known = held(place, digest)
    if (known instanceof Promise) {
      return known.then((found) => (found ? counted(found) : fetched(place, digest)))
    }
    return known ? counted(known) : fetched(place, digest)
  }

  return { manifest, held, fetched, counted }
}
