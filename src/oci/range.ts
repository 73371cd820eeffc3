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

/** Whether an entity-tag list (If-None-Match) holds `etag`; comparison is weak, `*` holds all. */
export function matchesEtag(header: string, etag: string): boolean {
  return header
    .split(',')
    .map((entry) => entry.trim().replace(/^W\//, ''))
    .some((entry) => entry === '*' || entry === etag)
}
