// What else pulling clients need of an upstream: HEAD, lists of tags in pages, referrers. Whatever is
// missing there the gateway gets by another way, so that nothing here fails a diagnosis.
import { GatewayError } from '../../errors.ts'
import { isDigest, type Digest } from '../../oci/digest.ts'
import { nextQuery } from '../../oci/link.ts'
import { manifestAccept } from '../../oci/media-type.ts'
import type { OriginResponse } from '../../oci/origin.ts'
import type { Upstream } from '../exchange.ts'
import type { Image } from './image.ts'
import { retrieve } from './retrieval.ts'
import { passed, type StepVerdict } from './step.ts'

const largestList = 1024 * 1024

/** `HEAD` of a manifest, as every client asks for a tag; `digest` is what GET brought. */
export async function checkHead(
  upstream: Upstream,
  { repository, reference }: Image,
  digest: Digest,
): Promise<StepVerdict> {
  const resource = `manifests/${reference}`
  const request = { method: 'HEAD', repository, resource, accept: manifestAccept } as const
  const answer = await retrieve(upstream, request, 1)
  const instead = 'the gateway asks by GET, which may count against a rate limit'
  if (answer instanceof GatewayError) return doubtful(`HEAD fails: ${answer.message}; ${instead}`)
  const { status, headers } = answer
  if (status !== 200) return doubtful(`HEAD is answered ${status} where GET works; ${instead}`)
  const told = headers['docker-content-digest']
  if (told === undefined || !isDigest(told)) {
    return doubtful(`HEAD has no Docker-Content-Digest; ${instead}`)
  }
  if (told !== digest) return doubtful(`HEAD says ${told}, and GET brought ${digest}`)
  if (!/^[1-9]\d*$/.test(headers['content-length'] ?? '')) {
    return doubtful(`HEAD has no Content-Length; ${instead}`)
  }
  return passed(told)
}

/** The first page of the tags, and that its Link leads to another one. */
export async function checkTags(upstream: Upstream, repository: string): Promise<StepVerdict> {
  const first = await tagsAt(upstream, repository, 'tags/list?n=1')
  if (typeof first === 'string') return doubtful(`tags/list ${first}`)
  const query = nextOf(first)
  if (query === undefined) return passed(`${first.tags} tags on one page`)
  const second = await tagsAt(upstream, repository, `tags/list?${query}`)
  if (typeof second === 'string') return doubtful(`the second page of tags/list ${second}`)
  return passed('in pages')
}

/** The referrers of a manifest, by the API of the distribution specification. */
export async function checkReferrers(
  upstream: Upstream,
  repository: string,
  digest: Digest,
): Promise<StepVerdict> {
  const request = { method: 'GET', repository, resource: `referrers/${digest}` } as const
  const answer = await retrieve(upstream, request, largestList)
  const instead = 'the fallback tag is asked for instead'
  if (answer instanceof GatewayError) {
    const status = answer.blame.status ?? answer.reason ?? 'not at all'
    return passed(`answered ${status}: ${instead}`)
  }
  const list = listIn(answer.body, 'manifests')
  if (answer.status !== 200) return passed(`answered ${answer.status}: ${instead}`)
  return list === undefined ? passed(`no index: ${instead}`) : passed(`${list.length} referrers`)
}

interface Page {
  tags: number
  headers: OriginResponse['headers']
}

/** A sentence about what is wrong, without its subject, where it is no page. */
async function tagsAt(
  upstream: Upstream,
  repository: string,
  resource: string,
): Promise<Page | string> {
  const answer = await retrieve(upstream, { method: 'GET', repository, resource }, largestList)
  if (answer instanceof GatewayError) return `fails: ${answer.message}`
  if (answer.status !== 200) return `is answered ${answer.status}`
  const tags = listIn(answer.body, 'tags')
  if (tags === undefined) return 'is answered by what is no list'
  return { tags: tags.length, headers: answer.headers }
}

/** The query of the next page; undefined where there is none that can be followed. */
function nextOf({ headers }: Page): string | undefined {
  try {
    return nextQuery(headers['link'])
  } catch {
    return undefined
  }
}

/** An empty list may be written as null. */
function listIn(body: Buffer, key: string): unknown[] | undefined {
  try {
    const document: unknown = JSON.parse(body.toString('utf8'))
    if (typeof document !== 'object' || document === null || !(key in document)) return undefined
    const list: unknown = (document as Record<string, unknown>)[key] ?? []
    return Array.isArray(list) ? list : undefined
  } catch {
    return undefined
  }
}

function doubtful(detail: string): StepVerdict {
  return { outcome: 'warning', detail }
}
