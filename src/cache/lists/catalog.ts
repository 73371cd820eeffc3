// What the cache holds, repository by repository, in steps that leave room for others.
import { setImmediate } from 'node:timers/promises'
import type { Place } from '../../oci/place.ts'
import type { TolerantIndex } from '../index/tolerant-index.ts'

/** Repositories looked at in a row: about a millisecond. */
const stepSize = 100

/** Sorted by `upstream/repository`; see `Cache.repositories`. */
export async function* listRepositories(
  index: Pick<TolerantIndex, 'upstreams' | 'repositories'>,
  after = '',
): AsyncGenerator<Place[]> {
  // No name of an upstream has a slash, so that the order of these is the order of whole names.
  for (const prefix of index
    .upstreams()
    .map((upstream) => `${upstream}/`)
    .toSorted()) {
    if (prefix < after && !after.startsWith(prefix)) continue
    const upstream = prefix.slice(0, -1)
    let last: string | undefined = after.startsWith(prefix) ? after.slice(prefix.length) : ''
    while (last !== undefined) {
      const step = index.repositories(upstream, last, stepSize)
      yield step.held.map((repository) => ({ upstream, repository }))
      last = step.last
      await setImmediate()
    }
  }
}
