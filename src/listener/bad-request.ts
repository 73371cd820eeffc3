// Answers to requests that never become requests: what Node's parser rejects, and what it lets
// through although two readers could understand it differently (RFC 9112, section 11.2).
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { GatewayError } from '../errors.ts'
import { errorBody } from '../oci/error-body.ts'

/** How long an answer may take that says why a connection is closed. */
const lingerMs = 5000

/** A listener for `clientError`: an OCI body where one can still be sent, then the end. */
export function refuseUnparsable(error: Error, socket: Duplex): void {
  const code = 'code' in error ? String(error.code) : ''
  if (socket.writableEnded) {
    // Refused already, and the answer may be on its way still: what else comes is of no interest.
    socket.pause()
    return
  }
  const response = responseOn(socket)
  // Behind a request that is complete and unanswered, this answer would be taken for that one's.
  const isLate = response !== undefined && (response.headersSent || response.req.complete)
  if (!socket.writable || code === 'ECONNRESET' || isLate) {
    socket.destroy()
    return
  }
  refuseRaw(socket, parseFailure(code))
}

/**
 * The response that a connection is busy with. Node's own default for `clientError` looks here
 * too; it has no public name.
 */
export function responseOn(socket: Duplex): ServerResponse | undefined {
  return (socket as { _httpMessage?: ServerResponse | null })._httpMessage ?? undefined
}

/** Whether a response is being made, so that the connection is quiet because of us. */
export function isOurTurn(socket: Duplex): boolean {
  const response = responseOn(socket)
  return response !== undefined && !response.writableEnded && socket.writableLength === 0
}

/** Writes a whole response to a socket that has no HTTP response object, and closes it. */
export function refuseRaw(socket: Duplex, error: GatewayError): void {
  const body = errorBody(error)
  socket.end(
    `HTTP/1.1 ${error.status} ${phrases[error.status] ?? 'Error'}\r\n` +
      'Connection: close\r\nContent-Type: application/json\r\n' +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  )
  endSoon(socket)
}

/** Answers by an OCI body; the connection is closed because its next bytes cannot be trusted. */
export function refuse(res: ServerResponse, error: GatewayError): void {
  const body = errorBody(error)
  res.writeHead(error.status, {
    ...error.headers,
    connection: 'close',
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  })
  res.end(body)
  endSoon(res.req.socket)
}

/** Gives the client a while to read why it is refused, and no longer. */
function endSoon(socket: Duplex): void {
  const end = setTimeout(() => socket.destroy(), lingerMs).unref()
  socket.once('close', () => clearTimeout(end))
}

/**
 * What is wrong with the frame of a request, apart from its path: host, duplicates that matter,
 * a target for somebody else, a body where there is none.
 */
export function frameProblem(req: IncomingMessage): GatewayError | undefined {
  const { hosts, authorizations, body } = countHeaders(req.rawHeaders)
  const isOld = req.httpVersion === '1.0'
  // Node reads 2.0 and 0.9 as well where a request line has them.
  if (req.httpVersion !== '1.1' && !isOld) return invalid('the gateway speaks HTTP/1.1')
  if (hosts !== 1 && !(isOld && hosts === 0)) {
    return invalid('a request needs exactly one Host header')
  }
  if (hosts === 1 && !hostPattern.test(req.headers.host ?? '')) {
    return invalid('the Host header is no name or address')
  }
  if (authorizations > 1) return invalid('a request may have one Authorization header only')
  if (body && (req.method === 'GET' || req.method === 'HEAD')) {
    return invalid(`a ${req.method} request must not have a body`)
  }
  if (!methods.has(req.method ?? '')) return unknownMethod()
  const target = req.url ?? ''
  if (target.includes('#')) return invalid('a request target must not have a fragment')
  if (target.startsWith('/') || target === '*') return undefined
  return absoluteForm(req, target)
}

/** RFC 9112 section 3.2: a name or an address, and a port; names of containers have underscores. */
const hostPattern = /^(?:[\w.~%-]+|\[[\w:.~%-]+\])(?::\d*)?$/

/** `GET https://host/path`: legal if it names this host, and turned into its usual form. */
function absoluteForm(req: IncomingMessage, target: string): GatewayError | undefined {
  const match = /^https?:\/\/([^/?#]+)(\/[^#]*)$/i.exec(target)
  if (match?.[1]?.toLowerCase() !== req.headers.host?.toLowerCase() || match?.[2] === undefined) {
    return invalid('the request target names another host: the gateway is no proxy')
  }
  req.url = match[2]
  return undefined
}

function countHeaders(raw: readonly string[]) {
  const counts = { hosts: 0, authorizations: 0, body: false }
  for (let index = 0; index < raw.length; index += 2) {
    const name = raw[index] ?? ''
    // The lengths spare almost every header the lower-casing.
    if (name.length === 4 && name.toLowerCase() === 'host') counts.hosts += 1
    else if (name.length === 13 && name.toLowerCase() === 'authorization') {
      counts.authorizations += 1
    } else if (name.length === 14 && name.toLowerCase() === 'content-length') {
      counts.body ||= raw[index + 1] !== '0'
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') counts.body = true
  }
  return counts
}

/** Those that a router may be asked about; Node's parser knows thirty more. */
const methods: ReadonlySet<string> = new Set('GET HEAD POST PUT PATCH DELETE OPTIONS'.split(' '))

function unknownMethod(): GatewayError {
  return new GatewayError('UNSUPPORTED', 'the gateway is pull-only: GET and HEAD', {
    headers: { allow: 'GET, HEAD' },
  })
}

const phrases: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  431: 'Request Header Fields Too Large',
}

function parseFailure(code: string): GatewayError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new GatewayError('HEADERS_TOO_LARGE', 'the headers of the request are too large')
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new GatewayError('REQUEST_TIMEOUT', 'the request did not arrive in time')
  }
  return invalid('the request is not valid HTTP/1.1')
}

function invalid(message: string): GatewayError {
  return new GatewayError('REQUEST_INVALID', message)
}
