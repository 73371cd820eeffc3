// Patterns for names, matched without regular expressions: `*` is any run of characters within one
// segment, `**` any number of segments. The time is bounded by pattern length times name length.

/** What parts the segments of a name; without one the name is a single segment. */
export type Separator = '/' | '.' | undefined

export interface Glob {
  text: string
  matches(name: string): boolean
}

/**
 * Compiles `text`. `**` stands for any number of segments, none included; at the end for at least
 * one, so that `a/**` is what lies below `a`. Within a longer segment it means the same as `*`.
 */
export function compileGlob(text: string, separator: Separator): Glob {
  const pattern = segmentsOf(text, separator)
  if (!text.includes('*')) return { text, matches: (name) => name === text }
  if (pattern.length === 1 && pattern[0] === '**') return { text, matches: () => true }
  return {
    text,
    matches: (name) => matchSegments(pattern, segmentsOf(name, separator), matchSegment),
  }
}

/** Whether every name that `inner` matches is matched by `outer` too; may be wrong only with `false`. */
export function coversGlob(outer: string, inner: string, separator: Separator): boolean {
  // A `*` of the inner pattern can only be taken by a `*` of the outer one, and `**` by `**`.
  return matchSegments(
    segmentsOf(outer, separator),
    segmentsOf(inner, separator),
    (one, other) => other !== '**' && matchSegment(one, other),
  )
}

/** `registry.local/app/*:v1.*`: which images are meant, by upstream, repository and tag or digest. */
export type ImageGlob = (image: {
  upstream: string
  repository: string
  reference: string
}) => boolean

/**
 * Compiles `text`: a glob of upstream and repository, and maybe one of tags behind `:` or of digests
 * behind `@`; without that every image of the repository is meant. undefined where it is none.
 */
export function compileImageGlob(text: string): ImageGlob | undefined {
  const at = text.indexOf('@')
  const colon = text.indexOf(':', text.lastIndexOf('/') + 1)
  const end = at >= 0 ? at : colon >= 0 ? colon : text.length
  const suffix = end < text.length ? text.slice(end + 1) : undefined
  if (!/^[a-z0-9*[][A-Za-z0-9._:*/[\]-]*$/.test(text.slice(0, end))) return undefined
  if (suffix !== undefined && !/^[A-Za-z0-9._:*-]+$/.test(suffix)) return undefined
  const name = compileGlob(text.slice(0, end), '/')
  const reference = compileGlob(suffix ?? '**', undefined)
  return (image) => {
    if (!name.matches(`${image.upstream}/${image.repository}`)) return false
    if (suffix === undefined) return true
    return image.reference.includes(':') === at >= 0 && reference.matches(image.reference)
  }
}

function segmentsOf(text: string, separator: Separator): string[] {
  return separator === undefined ? [text] : text.split(separator)
}

type Matches = (pattern: string, segment: string) => boolean

/** The one wild card to come back to is the last one: an earlier one need not take more. */
function matchSegments(
  pattern: readonly string[],
  name: readonly string[],
  matches: Matches,
): boolean {
  let p = 0
  let n = 0
  let star = -1
  let taken = 0
  while (n < name.length) {
    const segment = pattern[p]
    if (segment === '**') {
      if (p === pattern.length - 1) return true
      star = p
      taken = n
      p += 1
    } else if (segment !== undefined && matches(segment, name[n] ?? '')) {
      p += 1
      n += 1
    } else if (star >= 0) {
      taken += 1
      n = taken
      p = star + 1
    } else {
      return false
    }
  }
  return p === pattern.length
}

/** The same with characters: `*` takes any run of them. One for both would take twice as long. */
function matchSegment(pattern: string, text: string): boolean {
  let p = 0
  let n = 0
  let star = -1
  let taken = 0
  while (n < text.length) {
    if (pattern[p] === '*') {
      star = p
      taken = n
      p += 1
    } else if (pattern[p] === text[n]) {
      p += 1
      n += 1
    } else if (star >= 0) {
      taken += 1
      n = taken
      p = star + 1
    } else {
      return false
    }
  }
  while (pattern[p] === '*') p += 1
  return p === pattern.length
}
