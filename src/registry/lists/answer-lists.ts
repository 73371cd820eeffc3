// Answers requests for lists: tags, referrers, and the catalog.
import type { Cache } from '../../cache/cache.ts'
import type { Identity } from '../../identity/identity.ts'
import type { Digest } from '../../oci/digest.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import type { Access } from '../access.ts'
import { requestHeaders, type Answers } from '../answer.ts'
import type { Exchange } from '../request-record.ts'
import { placeOf, type Target } from '../target.ts'
import { catalogPage, nextLink, pageOf, referrersIndex } from './pages.ts'

interface ListOptions {
  cache: Cache
  live: () => { access: Access }
  answers: Answers
}

export async function answerTags(
  { cache, answers }: ListOptions,
  exchange: Exchange,
  target: Target,
  name: string,
): Promise<void> {
  const { entries, source, stale } = await cache.tags(placeOf(target))
  exchange.source = source
  exchange.stale = stale
  const page = pageOf(entries, target.query)
  const body = JSON.stringify({ name, tags: page.entries })
  answers.json(exchange, body, listHeaders(target, 'application/json', stale, page.next))
}

export async function answerReferrers(
  { cache, answers }: ListOptions,
  exchange: Exchange,
  target: Target,
  digest: Digest,
): Promise<void> {
  const { entries, source, stale } = await cache.referrers(placeOf(target), digest)
  exchange.source = source
  exchange.stale = stale
  const { body, filtered } = referrersIndex(entries, target.query)
  answers.json(exchange, body, [
    ...listHeaders(target, mediaTypes.ociIndex, stale),
    ...(filtered ? ['oci-filters-applied', 'artifactType'] : []),
  ])
}

/** Only what the cache holds and the caller may see; by whole names unless an upstream is named. */
export async function answerCatalog(
  { cache, live, answers }: ListOptions,
  exchange: Exchange,
  target: Target,
  identity: Identity,
): Promise<void> {
  const { upstream } = target
  exchange.source = 'memory'
  const page = await catalogPage(cache.repositories, {
    query: target.query,
    upstream,
    isVisible: (place) => live().access.mayList(identity, place),
  })
  const body = JSON.stringify({ repositories: page.entries })
  answers.json(exchange, body, listHeaders(target, 'application/json', false, page.next))
}

function listHeaders(
  { path, namespace }: Target,
  type: string,
  stale: boolean,
  next?: string,
): string[] {
  return [
    'content-type',
    type,
    ...requestHeaders(namespace, stale),
    ...(next === undefined ? [] : ['link', nextLink(path, next)]),
  ]
}
