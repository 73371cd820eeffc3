// GET and HEAD below /v2/: from a request whose frame is sound to its answer, in the order of checks.
//
// Answers before any router: for a warm manifest Fastify's way costs half as much again as Node's.
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Cache, Found, Large, Small } from '../cache/cache.ts'
import { GatewayError } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import type { Digest } from '../oci/digest.ts'
import { asGatewayError } from '../oci/error-body.ts'
import type { BeginSpan } from '../oci/place.ts'
import { gatewaysIn } from '../oci/via.ts'
import type { Access, Wanted } from './access.ts'
import {
  contentHeaders,
  partHeaders,
  requestHeaders,
  wantedPart,
  writeHead,
  type Answers,
} from './answer.ts'
import { multipartOf } from './multi-range.ts'
import { createSender, type Transfer } from './send-body.ts'
import { createRequestIds } from './record/request-id.ts'
import { beginExchange, type Exchange, type Recorder } from './request-record.ts'
import { answerLook, comesFromReplica, type LookOptions } from './replicas.ts'
import { answerCatalog, answerReferrers, answerTags } from './lists/answer-lists.ts'
import type { TakeShare } from './shares.ts'
import { markAsOfWorker, placeOf, readTarget, type Chooser, type Target } from './target.ts'

export interface PullOptions extends Pick<LookOptions, 'lookElsewhere'> {
  cache: Cache
  /** Asked at each request: a reload replaces them. */
  live: () => { choose: Chooser; access: Access }
  /** What this gateway calls itself to others. */
  pseudonym: string
  answers: Answers
  record: Recorder
  takeShare: TakeShare
  /** So many more or fewer bytes of blobs are left to be sent. */
  onLeft?: (change: number) => void
  /** Absent where nothing is traced. */
  beginSpan?: BeginSpan | undefined
  /** Only other workers of this gateway ask, each having decided for its own client. */
  isForWorkers?: boolean
}

const blobType = 'application/octet-stream'

export function createPull(options: PullOptions): RequestListener {
  const { live, answers, takeShare, beginSpan, isForWorkers = false } = options
  const serve = createServing(options)
  const idOf = createRequestIds()

  function admitted(exchange: Exchange, target: Target | GatewayError, identity: Identity): void {
    if (target instanceof GatewayError) throw target
    // A replica asks for all its clients, and has given each its share; so does a worker.
    if (target.place?.isOfReplica !== true && !isForWorkers) {
      const client = takeShare(exchange, identity)
      if (target.place !== undefined) target.place.client = client
    }
    const served = serve(exchange, target, identity)
    if (served !== undefined) served.catch((error: unknown) => answers.error(exchange, error))
  }

  return (req: IncomingMessage, res: ServerResponse) => {
    const exchange = beginExchange(req, res, idOf(req))
    const { choose, access } = live()
    if (beginSpan !== undefined) trace(exchange, beginSpan)
    try {
      const isReplica = comesFromReplica(req)
      const target = targetOf(exchange, choose, options, isReplica)
      const admit = admission(access, isReplica, isForWorkers)
      const identity = admit(exchange, wantedBy(target))
      if (identity instanceof Promise) {
        identity
          .then((later) => admitted(exchange, target, later))
          .catch((error: unknown) => answers.error(exchange, error))
      } else admitted(exchange, target, identity)
    } catch (error) {
      answers.error(exchange, error)
    }
  }
}

function admission(access: Access, isReplica: boolean, isForWorkers: boolean): Access['admit'] {
  if (isForWorkers) return () => ({ kind: 'anonymous' })
  return isReplica ? access.admitReplica : access.admit
}

function trace(exchange: Exchange, beginSpan: BeginSpan): void {
  const { req, started } = exchange
  const { traceparent } = req.headers
  const request = beginSpan(typeof traceparent === 'string' ? traceparent : undefined, started)
  exchange.spans = { request, cache: request.child('cache', {}, started) }
}

/** What the request means, or what is wrong with it: told only to who may come at all. */
function targetOf(
  exchange: Exchange,
  choose: Chooser,
  { pseudonym, isForWorkers = false }: PullOptions,
  isReplica: boolean,
): Target | GatewayError {
  const { url = '', headers } = exchange.req
  const registry = headers['x-registry']
  try {
    const name = Array.isArray(registry) ? registry.join(',') : registry
    const target = readTarget(url, name, choose, isReplica || isForWorkers)
    exchange.resource = target.resource
    exchange.place = target.place
    if (isForWorkers) markAsOfWorker(target, headers, isReplica)
    if (target.place !== undefined) {
      target.place.requestId = exchange.id
      target.place.span = exchange.spans?.cache
    }
    if (headers.via !== undefined && target.place !== undefined) {
      target.place.via = gatewaysIn(headers.via, pseudonym)
    }
    return target
  } catch (error) {
    return asGatewayError(error)
  }
}

function wantedBy(target: Target | GatewayError): Wanted {
  if (target instanceof GatewayError) return { action: 'pull', place: undefined }
  const { resource, place } = target
  if (resource.kind === 'catalog') {
    return { action: 'list', place: undefined, scope: 'registry:catalog:*' }
  }
  return { action: resource.kind === 'tags' ? 'list' : 'pull', place }
}

type Serve = (
  exchange: Exchange,
  target: Target,
  identity: Identity,
) => Promise<unknown> | undefined

function createServing(options: PullOptions): Serve {
  const { cache, answers } = options
  const serveBlob = createBlobServing(options)

  function small(exchange: Exchange, target: Target, found: Found<Small> | Promise<Found<Small>>) {
    if (found instanceof Promise) {
      return found.then((later) => answers.small(exchange, later, target.namespace))
    }
    answers.small(exchange, found, target.namespace)
    return undefined
  }

  const answer: Serve = (exchange, target, identity) => {
    const { resource } = target
    if (resource.kind === 'base') {
      answers.json(exchange, '{}')
      return undefined
    }
    if (resource.kind === 'catalog') return answerCatalog(options, exchange, target, identity)
    const place = placeOf(target)
    switch (resource.kind) {
      case 'manifest':
        if (resource.digest !== undefined) {
          return small(exchange, target, cache.manifest(place, resource.digest))
        }
        return small(exchange, target, cache.tag(place, resource.tag))
      case 'blob':
        return serveBlob(exchange, target, resource.digest)
      case 'tags':
        return answerTags(options, exchange, target, resource.name)
      case 'referrers':
        return answerReferrers(options, exchange, target, resource.digest)
      case 'upload':
      default:
        throw new GatewayError('UNSUPPORTED', 'the gateway is pull-only')
    }
  }

  return (exchange, target, identity) => {
    const looked = answerLook(options, exchange, target)
    if (looked === false) return answer(exchange, target, identity)
    if (looked === true) return undefined
    return looked.then(async (isAnswered) => {
      if (!isAnswered) await answer(exchange, target, identity)
    })
  }
}

/** What is sent of a content. */
type Part = Pick<Transfer, 'from' | 'to'> & { status: number; headers: string[] }

function createBlobServing({ cache, answers, record, onLeft }: PullOptions) {
  const send = createSender(onLeft)

  function large(
    exchange: Exchange,
    found: Found,
    content: Large,
    target: Target,
  ): Promise<never> | undefined {
    const { res } = exchange
    exchange.source = found.source
    const { digest, size } = content
    let wanted
    try {
      wanted = wantedPart(exchange, digest, size)
    } catch (error) {
      return refusedAtTheEnd(content, error)
    }
    const headers = [...contentHeaders(content), ...requestHeaders(target.namespace, false)]
    if (wanted === 'same') {
      content.close()
      writeHead(exchange, 304, headers)
      res.end()
      record(exchange)
      return undefined
    }
    if (Array.isArray(wanted) && size !== undefined) {
      const parts = multipartOf(content, wanted, size)
      const own = [...partHeaders(content, parts), ...requestHeaders(target.namespace, false)]
      start(exchange, parts.content, { from: 0, to: parts.length, status: 206, headers: own })
      return undefined
    }
    const range = typeof wanted === 'string' || Array.isArray(wanted) ? undefined : wanted
    const [from, to] = range === undefined ? [0, size] : [range.first, range.last + 1]
    if (to !== undefined) headers.push('content-length', String(to - from))
    if (range !== undefined) headers.push('content-range', `bytes ${from}-${range.last}/${size}`)
    start(exchange, content, { from, to, status: range === undefined ? 200 : 206, headers })
    return undefined
  }

  function start(
    exchange: Exchange,
    content: Transfer['content'],
    { from, to, status, headers }: Part,
  ): void {
    const { res } = exchange
    send({
      res,
      content,
      from,
      to,
      begin: () => {
        exchange.firstByte = performance.now()
        writeHead(exchange, status, headers)
      },
      done: (bytes, error) => {
        exchange.bytes = bytes
        if (content.isPassedOn?.() === true) exchange.source = 'upstream'
        if (error === undefined) record(exchange)
        else answers.error(exchange, error)
      },
    })
  }

  function found(exchange: Exchange, target: Target, result: Found): Promise<never> | undefined {
    const { content } = result
    if (content.kind === 'large') return large(exchange, result, content, target)
    answers.small(exchange, { ...result, content }, target.namespace)
    return undefined
  }

  return (exchange: Exchange, target: Target, digest: Digest): Promise<unknown> | undefined => {
    const place = placeOf(target)
    if (exchange.req.method === 'HEAD') {
      return answerHead({ cache, answers }, exchange, target, digest)
    }
    const result = cache.blob(place, digest)
    if (result instanceof Promise) return result.then((later) => found(exchange, target, later))
    return found(exchange, target, result)
  }
}

/** That it has no such part is said of content with the right digest only: its last byte tells. */
async function refusedAtTheEnd(content: Large, error: unknown): Promise<never> {
  try {
    await content.read(Buffer.alloc(1), Math.max((content.size ?? 0) - 1, 0))
    throw error
  } finally {
    content.close()
  }
}

/** Without a download: the size is all that the answer needs. */
async function answerHead(
  { cache, answers }: Pick<PullOptions, 'cache' | 'answers'>,
  exchange: Exchange,
  target: Target,
  digest: Digest,
): Promise<void> {
  const { size, source } = await cache.blobSize(placeOf(target), digest)
  exchange.source = source
  answers.head(exchange, digest, [
    ...contentHeaders({ mediaType: blobType, digest }),
    'content-length',
    String(size),
    ...requestHeaders(target.namespace, false),
  ])
}
