// Finds the next page in a Link header (RFC 8288), in time proportional to its length.

/**
 * The query of the first target whose `rel` is `next`; empty where it has none, undefined where no
 * target is that. Whatever host and path it names: what an upstream sends leads nowhere else.
 * @throws Error where the target cannot be read
 */
export function nextQuery(header: string | undefined): string | undefined {
  let rest = header ?? ''
  for (;;) {
    const start = rest.indexOf('<')
    const end = rest.indexOf('>', start)
    if (start === -1 || end === -1) return undefined
    const target = rest.slice(start + 1, end)
    const { isNext, length } = readParameters(rest.slice(end + 1))
    if (isNext) return queryOf(target)
    rest = rest.slice(end + 1 + length)
  }
}

/** Up to the comma that ends them; commas and semicolons in quotation marks are text. */
function readParameters(text: string): { isNext: boolean; length: number } {
  let isNext = false
  let isQuoted = false
  let start = 0
  let at = 0
  for (; at < text.length; at += 1) {
    const char = text[at]
    if (isQuoted && char === '\\') at += 1
    else if (char === '"') isQuoted = !isQuoted
    else if (!isQuoted && (char === ';' || char === ',')) {
      isNext ||= isRelNext(text.slice(start, at))
      start = at + 1
      if (char === ',') break
    }
  }
  isNext ||= at >= text.length && isRelNext(text.slice(start))
  return { isNext, length: at }
}

function isRelNext(parameter: string): boolean {
  const equals = parameter.indexOf('=')
  if (parameter.slice(0, equals).trim().toLowerCase() !== 'rel') return false
  const value = parameter.slice(equals + 1).trim()
  const bare = value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value
  return bare.toLowerCase().split(' ').includes('next')
}

function queryOf(target: string): string {
  const url = URL.parse(target, 'http://upstream/v2/')
  if (url === null) throw new Error('the target is no URL')
  return url.search.slice(1)
}
