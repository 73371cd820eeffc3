// One request on its way through the registry: what becomes known of it, for the log and the metrics.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Source } from '../cache/cache.ts'
import { GatewayError } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import type { Digest } from '../oci/digest.ts'
import type { Place, Span } from '../oci/place.ts'
import type { Resource } from '../oci/resource.ts'

export interface Exchange {
  req: IncomingMessage
  res: ServerResponse
  /** What it is called: safe to print, and to pass on. */
  id: string
  /** Its address, which nobody can tell any more once it has left. */
  client: string | undefined
  /** `performance.now()` when the headers had arrived. */
  started: number
  /** The same when the first byte of the answer was handed over; 0 before. */
  firstByte: number
  resource: Resource | undefined
  place: Place | undefined
  /** Who it was, also where it was refused; absent where nobody was established. */
  identity: Identity | undefined
  /** Whether the caller may do this: what becomes of it is no refusal. */
  isAdmitted: boolean
  /** What the answer is, where it is small content. */
  digest: Digest | undefined
  source: Source | 'none'
  stale: boolean
  /** Bytes of body sent. */
  bytes: number
  error: GatewayError | undefined
  /** Of the request, and of what the cache does for it; where it is traced. */
  spans: { request: Span; cache: Span } | undefined
}

/** What a request comes to, as the metrics take it; seconds. */
export interface RequestSample {
  kind: 'manifest' | 'blob' | 'tags' | 'referrers' | 'catalog' | 'base' | 'other'
  status: number
  source: Source | 'none'
  bytes: number
  seconds: number
  firstByteSeconds?: number
}

/** Writes the log line of one request; seconds. */
export type WriteRequest = (
  exchange: Exchange,
  seconds: number,
  firstByteSeconds: number | undefined,
) => void

/** Takes note of a request that is over. */
export type Recorder = (exchange: Exchange) => void

export function beginExchange(req: IncomingMessage, res: ServerResponse, id: string): Exchange {
  return {
    req,
    res,
    id,
    client: req.socket.remoteAddress,
    started: performance.now(),
    firstByte: 0,
    resource: undefined,
    place: undefined,
    identity: undefined,
    isAdmitted: false,
    digest: undefined,
    source: 'none',
    stale: false,
    bytes: 0,
    error: undefined,
    spans: undefined,
  }
}

/** The client has closed its connection before it had all of its answer. */
export function clientLeft(): GatewayError {
  return new GatewayError('REQUEST_TIMEOUT', 'the client left', { reason: 'client_left' })
}

/** One log line and one sample per request; `onManifest` hears of those for manifests that were let through. */
export function createRecorder(
  write: WriteRequest,
  sample: (sample: RequestSample) => void,
  onManifest: (exchange: Exchange) => void,
): Recorder {
  return (exchange) => {
    if (exchange.res.destroyed && exchange.error === undefined) noteLeft(exchange)
    const seconds = (performance.now() - exchange.started) / 1000
    const firstByteSeconds =
      exchange.firstByte === 0 ? undefined : (exchange.firstByte - exchange.started) / 1000
    const { resource, res, source, bytes } = exchange
    const common = { kind: kindOf(resource), status: res.statusCode, source, bytes, seconds }
    sample(firstByteSeconds === undefined ? common : { ...common, firstByteSeconds })
    write(exchange, seconds, firstByteSeconds)
    if (exchange.spans !== undefined) endSpans(exchange, exchange.spans)
    if (exchange.isAdmitted && resource?.kind === 'manifest') onManifest(exchange)
  }
}

function endSpans(exchange: Exchange, spans: { request: Span; cache: Span }): void {
  const { req, res, id, place, source, stale, firstByte, bytes, error } = exchange
  const failure = error === undefined ? {} : { 'error.type': error.reason ?? error.code }
  const began = firstByte === 0 ? undefined : firstByte
  spans.cache.end({ 'portcullis.source': source, 'portcullis.stale': stale, ...failure }, began)
  spans.request.end({
    'http.request.method': req.method ?? '',
    'http.response.status_code': res.statusCode,
    'http.response.body.size': bytes,
    'portcullis.request_id': id,
    ...(place && {
      'portcullis.upstream': place.upstream,
      'portcullis.repository': place.repository,
    }),
    ...failure,
  })
}

/** It was gone before it was answered: nothing of that has reached it. */
function noteLeft(exchange: Exchange): void {
  exchange.error = clientLeft()
  exchange.res.statusCode = exchange.error.status
  exchange.firstByte = 0
  exchange.bytes = 0
}

function kindOf(resource: Resource | undefined): RequestSample['kind'] {
  return resource === undefined || resource.kind === 'upload' ? 'other' : resource.kind
}
