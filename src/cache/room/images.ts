// Lists what the cache holds, page by page: images with what they take, and single contents.
import type { ImageGlob } from '../../rules/glob.ts'
import { UsageError } from '../../errors.ts'
import { isDigest, type Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'
import type { Index } from '../index/content-index.ts'
import type { BlobRow, NamedRow, Part, PinOwner, Reference } from '../index/image-queries.ts'
import { contentGraph } from './removals.ts'
import { partsOf } from './parts.ts'

/** A tag, or an untagged manifest that nothing else lists; times are milliseconds since 1970. */
export interface HeldImage extends NamedRow {
  /** Bytes that are there of it: of several platforms those that were pulled. */
  size: number
  /** Those of them that no other image needs. */
  ownSize: number
  /** Contents that are there, and that it refers to and are not. */
  stored: number
  missing: number
  pinnedBy: PinOwner[]
}

/** One file of the store. */
export interface HeldBlob extends BlobRow {
  /** Repositories that may have it. */
  places: Place[]
}

export interface InventoryPage<Row> {
  rows: Row[]
  /** Where the next page begins; undefined at the end. A page may have fewer rows than were asked. */
  next: string | undefined
}

export interface PageOptions {
  /** `next` of the page before. */
  cursor?: string | undefined
  /** Rows at most; 100 unless told. */
  limit?: number
  match?: ImageGlob | undefined
}

/** Rows that are looked at for one page: it takes some milliseconds. */
const mostLookedAt = 2000
const usualLimit = 100

/** Images by name: all that have a tag, then those without. */
export function listImages(index: Index, options: PageOptions = {}): InventoryPage<HeldImage> {
  const { match = () => true, limit = usualLimit } = options
  const { rows, next } = namedRows(index, options.cursor, match, limit)
  return { rows: rows.map((row) => describe(index, row)), next }
}

/** Names of images as `listImages` has them, without what they take. */
export function namedRows(
  index: Index,
  cursor: string | undefined,
  match: ImageGlob,
  limit: number,
): InventoryPage<NamedRow> {
  const rows: NamedRow[] = []
  let { isTagged, after } = readCursor(cursor)
  for (let looked = 0; looked < mostLookedAt; looked += limit) {
    const found = (isTagged ? index.taggedAfter : index.untaggedAfter)(after, limit)
    for (const row of found) {
      if (rows.length === limit) return { rows, next: writeCursor(isTagged, after) }
      after = row
      if (match(row)) rows.push(row)
    }
    if (found.length === limit) continue
    if (!isTagged) return { rows, next: undefined }
    isTagged = false
    after = undefined
  }
  return { rows, next: writeCursor(isTagged, after) }
}

/** Single contents, in the order of their digests. A pattern is one of repositories, or of digests. */
export function listBlobs(index: Index, options: PageOptions = {}): InventoryPage<HeldBlob> {
  const { match = () => true, limit = usualLimit } = options
  const rows: HeldBlob[] = []
  let after = options.cursor as Digest | undefined
  if (after !== undefined && !isDigest(after)) throw badCursor()
  for (let looked = 0; looked < mostLookedAt; looked += limit) {
    const found = index.blobsAfter(after, limit)
    for (const row of found) {
      if (rows.length === limit) return { rows, next: after }
      after = row.digest
      const places = placesOf(index, row.digest)
      const isMeant = places.some((place) => match({ ...place, reference: row.digest }))
      if (options.match === undefined || isMeant) rows.push({ ...row, places })
    }
    if (found.length < limit) return { rows, next: undefined }
  }
  return { rows, next: after }
}

function placesOf(index: Index, digest: Digest): Place[] {
  const places = new Map<string, Place>()
  for (const { upstream, repository } of index.links({ digest })) {
    places.set(`${upstream}/${repository}`, { upstream, repository })
  }
  return [...places.values()]
}

function describe(index: Index, row: NamedRow): HeldImage {
  const parts = index.partsOf(row.digest)
  const own = new Set(partsOf(row.digest, contentGraph(index)))
  const sum = (some: readonly Part[]) => some.reduce((total, { size = 0 }) => total + size, 0)
  const stored = parts.filter(({ size }) => size !== undefined)
  return {
    ...row,
    size: sum(stored),
    ownSize: sum(stored.filter(({ digest }) => own.has(digest))),
    stored: stored.length,
    missing: parts.length - stored.length,
    pinnedBy: pinnersOf(index, row),
  }
}

/** Who pins it: by this name, or by its digest. */
export function pinnersOf(
  index: Index,
  { digest, ...name }: Reference & { digest: Digest },
): PinOwner[] {
  return [...new Set([...index.pinners(name), ...index.pinners({ ...name, reference: digest })])]
}

/** Which list it is of, and the last name that was looked at. */
function writeCursor(isTagged: boolean, after: Reference | undefined): string {
  const key = after === undefined ? [] : [after.upstream, after.repository, after.reference]
  return Buffer.from(JSON.stringify([isTagged, ...key])).toString('base64url')
}

function readCursor(cursor: string | undefined): {
  isTagged: boolean
  after: Reference | undefined
} {
  if (cursor === undefined) return { isTagged: true, after: undefined }
  try {
    const parts = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[]
    const [isTagged, ...key] = parts
    if (!key.every((part) => typeof part === 'string')) throw badCursor()
    const [upstream = '', repository = '', reference = ''] = key
    const after = key.length === 0 ? undefined : { upstream, repository, reference }
    return { isTagged: isTagged === true, after }
  } catch {
    throw badCursor()
  }
}

function badCursor(): UsageError {
  return new UsageError([{ path: 'cursor', message: 'must be what the page before has named' }])
}
