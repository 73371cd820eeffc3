// Whole answers: small content, JSON documents and errors.
import { GatewayError } from '../errors.ts'
import type { Content, Found, Small } from '../cache/cache.ts'
import { asGatewayError, errorBody } from '../oci/error-body.ts'
import { isMediaType, isRunByBrowsers } from '../oci/media-type.ts'
import { matchesEtag, parseRanges, type ByteRange } from '../oci/range.ts'
import type { Digest } from '../oci/digest.ts'
import { multipartOf, type Multipart } from './multi-range.ts'
import { clientLeft, type Exchange, type Recorder } from './request-record.ts'

/** Names and values in turn, as `writeHead` takes them without looking at each. */
export type FlatHeaders = readonly string[]

/** What a browser may do with an answer: nothing. */
export const contentPolicy = "default-src 'none'; sandbox"

const common = [
  'docker-distribution-api-version',
  'registry/2.0',
  'x-content-type-options',
  'nosniff',
  'content-security-policy',
  contentPolicy,
] as const

/** The media type as it may be told: what is none, or runs in a browser, is bytes. */
function typeOf(mediaType: string): string {
  const isTold = isMediaType(mediaType) && !isRunByBrowsers(mediaType)
  return isTold ? mediaType : 'application/octet-stream'
}

/** Headers of content, without its length. */
export function contentHeaders({ mediaType, digest }: Pick<Content, 'mediaType' | 'digest'>) {
  return [
    ...common,
    'content-type',
    typeOf(mediaType),
    'docker-content-digest',
    digest,
    'etag',
    `"${digest}"`,
    'accept-ranges',
    'bytes',
  ]
}

/** Every answer says which request it is of. */
export function writeHead({ res, id }: Exchange, status: number, headers: FlatHeaders): void {
  res.writeHead(status, [...headers, 'x-request-id', id])
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
export function wantedPart(
  { req }: Exchange,
  digest: Digest,
  size: number | undefined,
): ByteRange | ByteRange[] | 'all' | 'same' {
  const { range, 'if-none-match': noneMatch, 'if-range': ifRange } = req.headers
  if (noneMatch !== undefined && matchesEtag(noneMatch, `"${digest}"`)) return 'same'
  // RFC 9110, section 14.2: a range is one of GET only.
  if (range === undefined || req.method !== 'GET') return 'all'
  if (ifRange !== undefined && ifRange !== `"${digest}"`) return 'all'
  const wanted = parseRanges(range, size)
  if (wanted === 'unsatisfiable') {
    throw new GatewayError('RANGE_INVALID', `this content has ${size} bytes`, {
      headers: { 'content-range': `bytes */${size}` },
    })
  }
  // Only the end of the download could tell: RFC 9110 allows everything as the answer.
  return wanted === 'unknown' ? 'all' : wanted
}

/** Headers of several parts, their length included. */
export function partHeaders(content: Pick<Content, 'mediaType' | 'digest'>, parts: Multipart) {
  const headers: string[] = contentHeaders(content)
  headers[headers.indexOf('content-type') + 1] = parts.type
  return [...headers, 'content-length', String(parts.length)]
}

function partsOfSmall(content: Small, ranges: readonly ByteRange[]) {
  const { bytes } = content
  const source = {
    read: (buffer: Buffer, position: number) => bytes.copy(buffer, 0, position),
    close: () => undefined,
  }
  const parts = multipartOf(source, ranges, bytes.length)
  const body = Buffer.alloc(parts.length)
  for (let position = 0; position < body.length;) {
    const read = parts.content.read(body.subarray(position), position)
    if (typeof read !== 'number' || read === 0) break
    position += read
  }
  return { headers: partHeaders(content, parts), body }
}

/** What is sent at once as a rule, bytes: nobody looks whether it has arrived. */
const mostUnwatched = 64 * 1024

export interface Answers {
  small: (exchange: Exchange, found: Found<Small>, namespace: string | undefined) => void
  /** The head of content that is not sent; 304 where the client has it already. */
  head: (exchange: Exchange, digest: Digest, headers: FlatHeaders) => void
  json: (exchange: Exchange, body: string, headers?: FlatHeaders) => void
  /** Answers by the OCI body, or breaks the connection where an answer has begun. */
  error: (exchange: Exchange, error: unknown) => void
}

/** Returns what sends the body of an answer whose head is written, and records it. */
function createEnd(record: Recorder): (exchange: Exchange, body?: Buffer | string) => void {
  function end(exchange: Exchange, body?: Buffer | string): void {
    exchange.firstByte = performance.now()
    const { req, res } = exchange
    if (body === undefined || req.method === 'HEAD') res.end()
    else {
      exchange.bytes = Buffer.byteLength(body)
      if (exchange.bytes > mostUnwatched && !res.destroyed) {
        sendWatched(exchange, body)
        return
      }
      res.end(body)
    }
    record(exchange)
  }

  /** A client may leave in the middle of it. */
  function sendWatched(exchange: Exchange, body: Buffer | string): void {
    const { res } = exchange
    let isOver = false
    const over = (error?: unknown) => {
      if (isOver) return
      isOver = true
      res.off('close', left)
      if (error instanceof Error) exchange.error ??= clientLeft()
      record(exchange)
    }
    const left = () => over(clientLeft())
    res.once('close', left)
    res.write(body, over)
    res.end()
  }

  return end
}

export function createAnswers(record: Recorder): Answers {
  const end = createEnd(record)
  /** The same object is found at every hit, and its headers with it. */
  const prepared = new WeakMap<Small, string[]>()

  function headersOf(content: Small): string[] {
    const known = prepared.get(content)
    if (known !== undefined) return known
    const headers = [...contentHeaders(content), 'content-length', String(content.bytes.length)]
    prepared.set(content, headers)
    return headers
  }

  return {
    small(exchange, { content, source, stale = false }, namespace) {
      exchange.source = source
      exchange.stale = stale
      exchange.digest = content.digest
      const extra = requestHeaders(namespace, stale)
      const wanted = wantedPart(exchange, content.digest, content.bytes.length)
      if (wanted === 'same') {
        writeHead(exchange, 304, [...contentHeaders(content), ...extra])
        end(exchange)
      } else if (wanted === 'all') {
        const headers = headersOf(content)
        writeHead(exchange, 200, extra.length === 0 ? headers : [...headers, ...extra])
        end(exchange, content.bytes)
      } else if (Array.isArray(wanted)) {
        const { headers, body } = partsOfSmall(content, wanted)
        writeHead(exchange, 206, [...headers, ...extra])
        end(exchange, body)
      } else {
        const { first, last } = wanted
        const range = `bytes ${first}-${last}/${content.bytes.length}`
        const own = ['content-range', range, 'content-length', String(last + 1 - first)]
        writeHead(exchange, 206, [...contentHeaders(content), ...own, ...extra])
        end(exchange, content.bytes.subarray(first, last + 1))
      }
    },

    head(exchange, digest, headers) {
      const isSame = wantedPart(exchange, digest, undefined) === 'same'
      writeHead(exchange, isSame ? 304 : 200, headers)
      end(exchange)
    },

    json(exchange, body, headers = ['content-type', 'application/json']) {
      const length = ['content-length', String(Buffer.byteLength(body))]
      writeHead(exchange, 200, [...common, ...headers, ...length])
      end(exchange, body)
    },

    error(exchange, thrown) {
      const { res } = exchange
      const known = asGatewayError(thrown)
      // What fails because nobody is there any more is no fault; a refusal stays one.
      const isOurs = exchange.isAdmitted || known.code === 'INTERNAL'
      const error = res.destroyed && isOurs ? clientLeft() : known
      exchange.error = error
      if (res.headersSent) {
        // A body that ends early must not look like one that is complete.
        res.destroy()
        record(exchange)
        return
      }
      const body = errorBody(error)
      const own = Object.entries(error.headers).flat()
      const length = ['content-length', String(Buffer.byteLength(body))]
      writeHead(exchange, error.status, [
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
