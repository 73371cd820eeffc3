// Byte ranges (RFC 9110 section 14), the part of them a registry needs.

/** Offsets of the first and of the last byte, both inclusive. */
export interface ByteRange {
  first: number
  last: number
}

/**
 * What a Range header asks of a representation. `all` for no header, for another unit, for more
 * than one range and for what does not parse: RFC 9110 lets a server ignore each of these.
 * @param size bytes of the representation; `undefined` while it is not known
 * @returns `unknown` where only the size could tell
 */
export function parseRange(
  header: string | undefined,
  size: number | undefined,
): ByteRange | 'all' | 'unsatisfiable' | 'unknown' {
  const match = header === undefined ? null : /^bytes=\s*(\d*)-(\d*)\s*$/i.exec(header)
  if (match === null) return 'all'
  const [from, to] = [match[1] ?? '', match[2] ?? '']
  if (from === '' && to === '') return 'all'
  if (from !== '' && to !== '' && Number(to) < Number(from)) return 'all'
  if (size === undefined) return 'unknown'
  if (from === '') {
    const length = Math.min(Number(to), size)
    return length === 0 ? 'unsatisfiable' : { first: size - length, last: size - 1 }
  }
  if (Number(from) >= size) return 'unsatisfiable'
  return { first: Number(from), last: to === '' ? size - 1 : Math.min(Number(to), size - 1) }
}

/** Ranges in one request; of more, and of more bytes than there are, everything is the answer. */
const mostRanges = 1024

/**
 * The same for a header that may have several ranges: those of them that have bytes, in their order.
 * One alone is no list.
 */
export function parseRanges(
  header: string | undefined,
  size: number | undefined,
): ByteRange | ByteRange[] | 'all' | 'unsatisfiable' | 'unknown' {
  if (header?.includes(',') !== true) return parseRange(header, size)
  const texts = header
    .slice(header.indexOf('=') + 1)
    .split(',', mostRanges + 1)
    .filter((text) => text.trim() !== '')
  if (!/^bytes=/i.test(header) || texts.length > mostRanges) return 'all'
  const parsed = texts.map((text) => parseRange(`bytes=${text}`, size))
  if (parsed.includes('all')) return 'all'
  if (parsed.includes('unknown')) return 'unknown'
  const ranges = parsed.filter((range) => typeof range !== 'string')
  const [first] = ranges
  if (first === undefined) return 'unsatisfiable'
  if (ranges.length === 1) return first
  const bytes = ranges.reduce((sum, range) => sum + range.last + 1 - range.first, 0)
  return bytes > (size ?? 0) ? 'all' : ranges
}

/** Whether an entity-tag list (If-None-Match) holds `etag`; comparison is weak, `*` alone holds all. */
export function matchesEtag(header: string, etag: string): boolean {
  if (header.trim() === '*') return true
  return header
    .split(',')
    .map((entry) => entry.trim().replace(/^W\//, ''))
    .includes(etag)
}
