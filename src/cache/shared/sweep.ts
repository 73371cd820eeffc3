// Compares what the cache knows with what the object store does, and notes what that lacks: what was there
// before the tier was configured, what another process has brought, what found no room in the queue.
import { setImmediate } from 'node:timers/promises'
import { isDigest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'
import type { StorageProblems } from '../storage-problems.ts'
import type { StoreAccess } from './store-access.ts'
import { sharedLinkKey, placePrefix, tagKey } from './layout.ts'
import type { Task } from './queue.ts'

export interface SweepOptions {
  access: StoreAccess
  index: TolerantIndex
  storageProblems: StorageProblems
  seen: { set: (key: string, value: true) => unknown }
  note: (task: Task) => void
  signal: AbortSignal
}

/** Repositories that are looked up at once. */
const step = 100
const listMs = 60_000

/**
 * One list request for each repository, and for each thousand of objects in it. Whether it got to the
 * end; never rejects.
 */
export async function sweep(options: SweepOptions): Promise<boolean> {
  for await (const place of placesOf(options)) {
    const known = await keysAt(options, place)
    if (known === undefined) return false
    options.storageProblems.guard('comparing the cache with the shared store', () =>
      notePlace(options, place, known),
    )
  }
  return !options.signal.aborted
}

async function* placesOf({ index, signal }: SweepOptions): AsyncGenerator<Place> {
  for (const upstream of index.upstreams()) {
    let after: string | undefined = ''
    while (after !== undefined && !signal.aborted) {
      const { held, last }: { held: string[]; last: string | undefined } = index.repositories(
        upstream,
        after,
        step,
      )
      for (const repository of held) {
        if (!signal.aborted) yield { upstream, repository }
      }
      after = last
      await setImmediate()
    }
  }
}

async function keysAt({ access, signal }: SweepOptions, place: Place) {
  const found = await access.use('read', { ms: listMs }, async (limit) => {
    const keys = new Set<string>()
    const list = access.store.list(placePrefix(place), AbortSignal.any([signal, limit]))
    for await (const key of list) keys.add(key)
    return keys
  })
  return found?.value
}

function notePlace({ index, seen, note }: SweepOptions, place: Place, known: Set<string>): void {
  const { upstream, repository } = place
  for (const { digest, kind } of index.current().links({ place })) {
    const key = sharedLinkKey(place, digest, kind)
    if (known.has(key)) seen.set(key, true)
    else if (isDigest(digest)) note({ do: 'link', upstream, repository, digest, kind })
  }
  for (const name of index.tagsOf(place)) {
    const facts = known.has(tagKey(place, name)) ? undefined : index.tag(place, name)
    if (facts !== undefined) note({ do: 'tag', upstream, repository, name, ...facts })
  }
}
