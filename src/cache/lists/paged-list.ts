// Lists from an upstream, page by page: tags, and what refers to a manifest.
import type { Place } from '../../oci/place.ts'
import { ask, badResponse, isOfRegistry, type Answer } from '../ask.ts'
import type { Context } from '../context.ts'

const maxPages = 1000
const maxBytes = 32 * 1024 * 1024

export interface Pages {
  status: number
  pages: Record<string, unknown>[]
  /** Whether it is a registry that says so. */
  isOfRegistry: boolean
}

/**
 * All pages of a list. Of a Link only the place in the list is taken, never another target.
 * @param resource below `/v2/<repository>/`, without a query
 * @returns the first answer where its status is not 200, otherwise every body, parsed
 */
export async function askPages(
  { openUpstream }: Pick<Context, 'openUpstream'>,
  { upstream, repository, client }: Place,
  { resource, query, accept }: { resource: string; query: string; accept: string },
): Promise<Pages> {
  const pages: Record<string, unknown>[] = []
  let bytes = 0
  let next: string | undefined = query
  const seen = new Set<string>()
  while (next !== undefined && !seen.has(next)) {
    seen.add(next)
    if (pages.length >= maxPages) throw badResponse('a list of too many pages')
    const target: string = next === '' ? resource : `${resource}?${next}`
    const answer: Answer = await ask(
      openUpstream,
      { upstream, repository, client, method: 'GET', resource: target, accept },
      maxBytes - bytes,
    )
    if (answer.status !== 200) {
      const { status } = answer
      if (pages.length === 0) return { status, pages, isOfRegistry: isOfRegistry(answer) }
      throw badResponse(`status ${answer.status} in the middle of a list`)
    }
    bytes += answer.body.length
    pages.push(objectIn(answer.body))
    next = nextQuery(answer.headers['link'])
  }
  return { status: 200, pages, isOfRegistry: true }
}

/** `n` and `last` of a Link to the next page (RFC 8288). */
function nextQuery(link: string | undefined): string | undefined {
  const target = nextTarget(link ?? '')
  if (target === undefined) return undefined
  const query = URL.parse(target, 'http://upstream')?.searchParams
  const [n = null, last = null] = [query?.get('n'), query?.get('last')]
  if (last === null) return undefined
  return new URLSearchParams(n === null ? { last } : { n, last }).toString()
}

/** Each byte is looked at a fixed number of times, whatever the upstream writes. */
function nextTarget(link: string): string | undefined {
  for (const one of link.split('<').slice(1)) {
    const end = one.indexOf('>')
    const [parameters = ''] = one.slice(end + 1).split(',', 1)
    if (end >= 0 && /\brel="?next"?/i.test(parameters)) return one.slice(0, end)
  }
  return undefined
}

export function objectIn(body: Buffer): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(body.toString('utf8'))
  } catch (cause) {
    throw badResponse('a list that is no JSON', cause)
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  throw badResponse('a list that is no JSON object')
}
