// Lists as the distribution specification has them: tags and the catalog in pages, and referrers.
import type { Descriptor } from '../cache/cache.ts'
import { GatewayError } from '../errors.ts'
import { mediaTypes } from '../oci/media-type.ts'

/** A part of a sorted list, and the query of the part after it where there is one. */
export interface Page {
  entries: readonly string[]
  next: string | undefined
}

/**
 * The entries after `last`, at most `n` of them ("Listing Tags").
 * @throws GatewayError PAGINATION_NUMBER_INVALID
 */
export function pageOf(sorted: readonly string[], query: URLSearchParams | undefined): Page {
  const n = query?.get('n') ?? undefined
  const last = query?.get('last') ?? undefined
  if (n !== undefined && !/^\d{1,9}$/.test(n)) {
    throw new GatewayError('PAGINATION_NUMBER_INVALID', 'n is the number of entries wanted')
  }
  const after = last === undefined ? sorted : sorted.filter((entry) => entry > last)
  const entries = n === undefined ? after : after.slice(0, Number(n))
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
