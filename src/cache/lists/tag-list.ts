// The tags of a repository: all that the upstream lists, or those that the cache holds.
import { GatewayError } from '../../errors.ts'
import type { OriginResponse } from '../../oci/origin.ts'
import type { Place } from '../../oci/place.ts'
import type { Cache, Listed } from '../cache.ts'
import { badResponse } from '../ask.ts'
import { listTtl } from '../freshness/tag-ttl.ts'
import { placeKey } from '../memory.ts'
import type { Context } from '../context.ts'
import { createSingleFlight } from '../single-flight.ts'
import { createListMemory } from './list-memory.ts'
import type { AskPages } from './paged-list.ts'

const pageLength = 1000
/** Bytes of one list, at most. */
const limit = 16 * 2 ** 20
/** Sorting more would hold everybody up. */
const mostTags = 100_000

export function createTagList(context: Context, askPages: AskPages): Cache['tags'] {
  const { index, outages, freshnessOf, now } = context
  const share = createSingleFlight()
  const lists = createListMemory<string>(now)

  async function asked(place: Place): Promise<Listed<string>> {
    const { status, pages, bytes, isOfRegistry, problem, answer } = await askPages(place, {
      resource: 'tags/list',
      query: `n=${pageLength}`,
      accept: 'application/json',
      limit,
    })
    if (status === 404) return keptOf(place, isOfRegistry)
    if (problem !== undefined) throw problem
    if (status !== 200) throw badResponse(`status ${status} to a list of tags`, answer)
    const tags = pages.flatMap((page) => tagsIn(page['tags'], answer))
    if (tags.length > mostTags) throw badResponse(`a list of more than ${mostTags} tags`, answer)
    const entries = [...new Set(tags)].sort()
    lists.keep(placeKey(place), entries, bytes)
    return { entries, source: 'upstream', stale: false }
  }

  /** After a 404: what is kept though the registry has deleted it. */
  function keptOf(place: Place, isOfRegistry: boolean): Listed<string> {
    const entries = index.tagsOf(place)
    if (entries.length === 0 || (isOfRegistry && !isKept(place))) {
      throw new GatewayError('NAME_UNKNOWN', 'the upstream has no such repository')
    }
    if (!isOfRegistry) throw badResponse('a 404 that is not that of a registry')
    return { entries, source: 'disk', stale: true }
  }

  function isKept({ upstream }: Place): boolean {
    return freshnessOf(upstream).onUpstreamDelete === 'keep'
  }

  async function held(place: Place, longest: number): Promise<Listed<string> | undefined> {
    const entries = longest > 0 ? index.tagsOf(place) : []
    return entries.length === 0 ? undefined : { entries, source: 'disk', stale: true }
  }

  return async (place) => {
    const entries = lists.fresh(placeKey(place), listTtl(freshnessOf(place.upstream).tagTtl))
    if (entries !== undefined) return { entries, source: 'memory', stale: false }
    return share(placeKey(place), async () =>
      outages.orStale(
        place,
        async () => asked(place),
        async (longest) => held(place, longest),
      ),
    )
  }
}

/** Some registries answer `null` where there is none. */
function tagsIn(tags: unknown, answer: OriginResponse | undefined): string[] {
  if (tags === null || tags === undefined) return []
  if (Array.isArray(tags) && tags.every((tag) => typeof tag === 'string')) return tags
  throw badResponse('a list of tags that is none', answer)
}
