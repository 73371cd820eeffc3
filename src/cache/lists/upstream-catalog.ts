// The repositories of an upstream: all that its catalog lists, or those that the cache holds.
import { GatewayError } from '../../errors.ts'
import type { Cache, Listed } from '../cache.ts'
import { badResponse } from '../ask.ts'
import type { Context } from '../context.ts'
import type { AskPages } from './paged-list.ts'

const pageLength = 1000
/** Bytes of one list, at most. */
const limit = 64 * 2 ** 20

export function createUpstreamCatalog(
  { outages }: Pick<Context, 'outages'>,
  askPages: AskPages,
  repositories: Cache['repositories'],
): Cache['catalog'] {
  async function asked(upstream: string): Promise<Listed<string>> {
    const { status, pages, problem, answer } = await askPages(
      { upstream, repository: '' },
      { resource: '_catalog', query: `n=${pageLength}`, accept: 'application/json', limit },
    )
    if ([404, 405].includes(status)) {
      throw new GatewayError('UNSUPPORTED', 'the upstream has no catalog: name its repositories')
    }
    if (problem !== undefined) throw problem
    if (status !== 200) throw badResponse(`status ${status} to a catalog`, answer)
    const names = pages.flatMap((page) => page['repositories'] ?? [])
    if (!names.every((name) => typeof name === 'string')) {
      throw badResponse('a catalog that is none', answer)
    }
    return { entries: [...new Set(names)].sort(), source: 'upstream', stale: false }
  }

  async function held(upstream: string): Promise<Listed<string> | undefined> {
    const entries: string[] = []
    for await (const places of repositories()) {
      entries.push(
        ...places.filter((place) => place.upstream === upstream).map((place) => place.repository),
      )
    }
    return entries.length === 0 ? undefined : { entries, source: 'disk', stale: true }
  }

  return async (upstream) =>
    outages.orStale(
      { upstream, repository: '' },
      async () => asked(upstream),
      async () => held(upstream),
    )
}
