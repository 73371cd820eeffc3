// The tags of a repository: all that the upstream lists, or those that the cache holds.
import { LRUCache } from 'lru-cache'
import { GatewayError } from '../../errors.ts'
import type { Place } from '../../oci/place.ts'
import type { Cache, Listed } from '../cache.ts'
import { badResponse } from '../ask.ts'
import { askPages } from './paged-list.ts'
import { placeKey } from '../memory.ts'
import type { Context } from '../context.ts'
import { createSingleFlight } from '../single-flight.ts'

/** How long a list is served again without asking, ms. */
export const listFreshFor = 10_000
const pageLength = 1000
/** Tags in memory, at most. */
const maxListed = 200_000

export function createTagList(context: Context): Cache['tags'] {
  const { index, outages, now } = context
  const share = createSingleFlight()
  const lists = new LRUCache<string, { at: number; entries: readonly string[] }>({
    maxSize: maxListed,
    sizeCalculation: ({ entries }) => entries.length + 1,
  })

  async function asked(place: Place): Promise<Listed<string>> {
    const entries = await askTags(context, place)
    lists.set(placeKey(place), { at: now(), entries })
    return { entries, source: 'upstream', stale: false }
  }

  async function held(place: Place, longest: number): Promise<Listed<string> | undefined> {
    const entries = longest > 0 ? index.tagsOf(place) : []
    return entries.length === 0 ? undefined : { entries, source: 'disk', stale: true }
  }

  return async (place) => {
    const known = lists.get(placeKey(place))
    if (known !== undefined && Math.abs(now() - known.at) < listFreshFor) {
      return { entries: known.entries, source: 'memory', stale: false }
    }
    return share(placeKey(place), async () =>
      outages.orStale(
        place,
        async () => asked(place),
        async (longest) => held(place, longest),
      ),
    )
  }
}

async function askTags(context: Context, place: Place): Promise<string[]> {
  const { status, pages, isOfRegistry } = await askPages(context, place, {
    resource: 'tags/list',
    query: `n=${pageLength}`,
    accept: 'application/json',
  })
  if (status === 404) {
    if (!isOfRegistry && context.index.tagsOf(place).length > 0) {
      throw badResponse('a 404 that is not that of a registry')
    }
    throw new GatewayError('NAME_UNKNOWN', 'the upstream has no such repository')
  }
  if (status !== 200) throw badResponse(`status ${status} to a list of tags`)
  const tags = pages.flatMap((page) => tagsIn(page['tags']))
  return [...new Set(tags)].sort()
}

/** Some registries answer `null` where there is none. */
function tagsIn(tags: unknown): string[] {
  if (tags === null || tags === undefined) return []
  if (Array.isArray(tags) && tags.every((tag) => typeof tag === 'string')) return tags
  throw badResponse('a list of tags that is none')
}
