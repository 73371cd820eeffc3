// Asks for lists page by page: all of them, or an error; never a part.
import { isOfRegistry } from '../../oci/error-body.ts'
import type { OriginResponse } from '../../oci/origin.ts'
import { requestAt, type Place } from '../../oci/place.ts'
import { ask, badResponse, type CollectedAnswer, type BadAnswer } from '../ask.ts'
import type { Context } from '../context.ts'
import { nextQuery } from '../../oci/link.ts'
import { createTurns } from './turns.ts'
import { objectIn } from './json-object.ts'

const maxPages = 1000
/** For all pages together, ms: none is begun after that. */
const longest = 60_000
/** Lists that one upstream is asked for at once; others wait for their turn. */
const atOnce = 4

export interface Pages {
  /** Of the first answer. */
  status: number
  /** Every body, parsed. */
  pages: Record<string, unknown>[]
  /** Of all bodies. */
  bytes: number
  /** Whether it is a registry that says so. */
  isOfRegistry: boolean
  /** Why a first answer of 200 is no list. */
  problem?: BadAnswer
  /** The last one. */
  answer: OriginResponse | undefined
}

export interface ListRequest {
  /** Below `/v2/<repository>/`, without a query. */
  resource: string
  query: string
  accept: string
  /** Bytes of all pages together, at most. */
  limit: number
}

export type AskPages = (place: Place, request: ListRequest) => Promise<Pages>

/**
 * All pages of a list. Of a Link the whole query is taken, which is the upstream's own affair, and
 * never another host or path.
 */
export function createPagedList(context: Pick<Context, 'openUpstream' | 'now'>): AskPages {
  const inTurn = createTurns(atOnce)
  return async (place, request) =>
    inTurn(place.upstream, async () => askPages(context, place, request))
}

async function askPages(
  { openUpstream, now }: Pick<Context, 'openUpstream' | 'now'>,
  place: Place,
  { resource, query, accept, limit }: ListRequest,
): Promise<Pages> {
  const begun = now()
  const pages: Record<string, unknown>[] = []
  const seen = new Set<string>()
  let bytes = 0
  let next: string | undefined = query
  let answer: CollectedAnswer | undefined
  while (next !== undefined && !seen.has(next)) {
    seen.add(next)
    if (pages.length >= maxPages) throw badResponse('a list of too many pages', answer)
    if (now() - begun > longest) throw badResponse('a list that takes too long', answer)
    const target: string = next === '' ? resource : `${resource}?${next}`
    answer = await ask(
      openUpstream,
      { ...requestAt(place), method: 'GET', resource: target, accept },
      limit - bytes,
    )
    const { status } = answer
    if (status !== 200) {
      if (pages.length > 0) throw badResponse(`status ${status} in the middle of a list`, answer)
      return { status, pages, bytes, isOfRegistry: isOfRegistry(answer), answer }
    }
    const page = objectIn(answer.body)
    if (page === undefined) {
      const problem = badResponse('a list that is no JSON object', answer)
      if (pages.length > 0) throw problem
      return { status, pages, bytes, isOfRegistry: false, problem, answer }
    }
    bytes += answer.body.length
    pages.push(page)
    next = nextOf(answer)
  }
  return { status: 200, pages, bytes, isOfRegistry: true, answer }
}

function nextOf(answer: CollectedAnswer): string | undefined {
  try {
    return nextQuery(answer.headers['link'])
  } catch (cause) {
    throw badResponse('a link to a next page that cannot be followed', answer, cause)
  }
}
