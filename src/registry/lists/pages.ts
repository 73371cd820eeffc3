// Lists as the distribution specification has them: tags and the catalog in pages, and referrers.
import type { Cache, Descriptor } from '../../cache/cache.ts'
import { GatewayError } from '../../errors.ts'
import { mediaTypes } from '../../oci/media-type.ts'
import type { Place } from '../../oci/place.ts'
import { nameOfPlace } from '../access.ts'

/** A part of a sorted list, and the query of the part after it where there is one. */
export interface Page {
  entries: readonly string[]
  next: string | undefined
}

/** Of the catalog, whatever is asked for. */
const largestPage = 10_000

/**
 * The entries after `last`, at most `n` of them ("Listing Tags").
 * @throws GatewayError PAGINATION_NUMBER_INVALID
 */
export function pageOf(sorted: readonly string[], query: URLSearchParams | undefined): Page {
  const { n, last } = wantedPage(query)
  const after = last === undefined ? sorted : sorted.filter((entry) => entry > last)
  return pageFrom(after, n, query)
}

/**
 * The same of the repositories that are visible, which are gone through only as far as needed.
 * @param repositories see `Cache.repositories`
 * @throws GatewayError PAGINATION_NUMBER_INVALID
 */
export async function catalogPage(
  repositories: Cache['repositories'],
  {
    query,
    upstream,
    isVisible,
  }: {
    query: URLSearchParams | undefined
    upstream: string | undefined
    isVisible: (place: Place) => boolean
  },
): Promise<Page> {
  const { n = largestPage, last = '' } = wantedPage(query)
  const most = Math.min(n, largestPage)
  const prefix = upstream === undefined ? '' : `${upstream}/`
  const names: string[] = []
  for await (const places of repositories(prefix + last)) {
    if (upstream !== undefined && places.some((place) => place.upstream !== upstream)) break
    names.push(...places.filter(isVisible).map((place) => nameOfPlace(place).slice(prefix.length)))
    if (names.length > most) break
  }
  return pageFrom(names, most, query)
}

function wantedPage(query: URLSearchParams | undefined) {
  const n = query?.get('n') ?? undefined
  if (n !== undefined && !/^\d{1,9}$/.test(n)) {
    throw new GatewayError('PAGINATION_NUMBER_INVALID', 'n is the number of entries wanted')
  }
  return { n: n === undefined ? undefined : Number(n), last: query?.get('last') ?? undefined }
}

function pageFrom(
  after: readonly string[],
  n: number | undefined,
  query: URLSearchParams | undefined,
): Page {
  const entries = n === undefined ? after : after.slice(0, n)
  const end = entries.at(-1)
  if (end === undefined || entries.length === after.length) return { entries, next: undefined }
  const next = new URLSearchParams(query)
  next.set('last', end)
  return { entries, next: next.toString() }
}

/** The value of `Link` (RFC 8288) for the page after this one. */
export function nextLink(path: string, query: string): string {
  return `<${path}?${query}>; rel="next"`
}

/** The body of a referrers answer, and whether it was filtered. */
export function referrersIndex(
  descriptors: readonly Descriptor[],
  query: URLSearchParams | undefined,
): { body: string; filtered: boolean } {
  const types = query?.getAll('artifactType') ?? []
  const manifests =
    types.length === 0
      ? descriptors
      : descriptors.filter(({ artifactType }) => types.includes(artifactType ?? ''))
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests }
  return { body: JSON.stringify(index), filtered: types.length > 0 }
}
