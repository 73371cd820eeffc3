// Whole answers: small content, JSON documents and errors.
import { GatewayError } from '../errors.ts'
import type { Content, Found, Small } from '../cache/cache.ts'
import { asGatewayError, errorBody } from '../oci/error-body.ts'
import { matchesEtag, parseRange, type ByteRange } from '../oci/range.ts'
import type { Digest } from '../oci/digest.ts'
import type { Exchange, Recorder } from './request-record.ts'

/** Names and values in turn, as `writeHead` takes them without looking at each. */
export type FlatHeaders = readonly string[]

const common = [
  'docker-distribution-api-version',
  'registry/2.0',
  'x-content-type-options',
  'nosniff',
] as const

/** Headers of content, without its length. */
export function contentHeaders({ mediaType, digest }: Pick<Content, 'mediaType' | 'digest'>) {
  return [
    ...common,
    'content-type',
    mediaType,
    'docker-content-digest',
    digest,
    'etag',
    `"${digest}"`,
    'accept-ranges',
    'bytes',
  ]
}

/** Headers that belong to the request rather than to the content. */
export function requestHeaders(namespace: string | undefined, stale: boolean): FlatHeaders {
  return [
    ...(namespace === undefined ? [] : ['oci-namespace', namespace]),
    // RFC 7234, section 5.5.1: no header in use says it since, and clients log it.
    ...(stale ? ['warning', '110 portcullis "Response is Stale"'] : []),
  ]
}

/** What of a representation of `size` bytes the request wants; `same`: the client has it already. */
export function wantedOf(
  { req }: Exchange,
  digest: Digest,
  size: number | undefined,
): ByteRange | 'all' | 'same' {
  const { range, 'if-none-match': noneMatch, 'if-range': ifRange } = req.headers
  if (noneMatch !== undefined && matchesEtag(noneMatch, `"${digest}"`)) return 'same'
  if (range === undefined || (ifRange !== undefined && ifRange !== `"${digest}"`)) return 'all'
  const wanted = parseRange(range, size)
  if (wanted === 'unsatisfiable') {
    throw new GatewayError('RANGE_INVALID', `this content has ${size} bytes`, {
      headers: { 'content-range': `bytes */${size}` },
    })
  }
  // Only the end of the download could tell: RFC 9110 allows everything as the answer.
  return wanted === 'unknown' ? 'all' : wanted
}

export interface Answers {
  small: (exchange: Exchange, found: Found<Small>, namespace: string | undefined) => void
  /** The head of content that is not sent. */
  head: (exchange: Exchange, headers: FlatHeaders) => void
  json: (exchange: Exchange, body: string, headers?: FlatHeaders) => void
  /** Answers by the OCI body, or breaks the connection where an answer has begun. */
  error: (exchange: Exchange, error: unknown) => void
}

export function createAnswers(record: Recorder): Answers {
  /** The same object is found at every hit, and its headers with it. */
  const prepared = new WeakMap<Small, string[]>()

  function headersOf(content: Small): string[] {
    const known = prepared.get(content)
    if (known !== undefined) return known
    const headers = [...contentHeaders(content), 'content-length', String(content.bytes.length)]
    prepared.set(content, headers)
    return headers
  }

  function end(exchange: Exchange, body?: Buffer | string): void {
    exchange.firstByte = performance.now()
    if (body === undefined || exchange.req.method === 'HEAD') exchange.res.end()
    else {
      exchange.bytes = Buffer.byteLength(body)
      exchange.res.end(body)
    }
    record(exchange)
  }

  return {
    small(exchange, { content, source, stale = false }, namespace) {
      exchange.source = source
      exchange.stale = stale
      const extra = requestHeaders(namespace, stale)
      const wanted = wantedOf(exchange, content.digest, content.bytes.length)
      const { res } = exchange
      if (wanted === 'same') {
        res.writeHead(304, [...contentHeaders(content), ...extra])
        end(exchange)
      } else if (wanted === 'all') {
        const headers = headersOf(content)
        res.writeHead(200, extra.length === 0 ? headers : [...headers, ...extra])
        end(exchange, content.bytes)
      } else {
        const { first, last } = wanted
        const range = `bytes ${first}-${last}/${content.bytes.length}`
        const own = ['content-range', range, 'content-length', String(last + 1 - first)]
        res.writeHead(206, [...contentHeaders(content), ...own, ...extra])
        end(exchange, content.bytes.subarray(first, last + 1))
      }
    },

    head(exchange, headers) {
      exchange.res.writeHead(200, [...headers])
      end(exchange)
    },

    json(exchange, body, headers = ['content-type', 'application/json']) {
      const length = ['content-length', String(Buffer.byteLength(body))]
      exchange.res.writeHead(200, [...common, ...headers, ...length])
      end(exchange, body)
    },

    error(exchange, thrown) {
      const error = asGatewayError(thrown)
      exchange.error = error
      const { res } = exchange
      if (res.headersSent) {
        // A body that ends early must not look like one that is complete.
        res.destroy()
        record(exchange)
        return
      }
      const body = errorBody(error)
      const own = Object.entries(error.headers).flat()
      const length = ['content-length', String(Buffer.byteLength(body))]
      res.writeHead(error.status, [
        ...common,
        'content-type',
        'application/json',
        ...own,
        ...length,
      ])
      end(exchange, body)
    },
  }
}
