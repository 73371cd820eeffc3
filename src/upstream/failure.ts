// From whatever goes wrong on the way to an upstream to the error that a client sees, the reason
// that metrics count by, and whether it is worth another try.
import { GatewayError, verificationReason } from '../errors.ts'
import { HTTPParserError } from '../rules/rare/connections.ts'
import { printable } from '../rules/printable.ts'
import { redacted } from '../rules/redaction.ts'
import { codeOf, isReason, messageFor, type Reason } from './reason.ts'
import { parseRetryAfter } from './retry.ts'

export interface Failure {
  kind: 'failure'
  reason: Reason
  error: GatewayError
  /** Whether the same request may go well in a moment. */
  isTransient: boolean
  /** What the other side asks for, ms. */
  retryAfter: number | undefined
}

/** Who failed: an upstream, its token service, or a host that it redirects downloads to. */
export interface FailureSubject {
  /** As in `the upstream quay.io`. */
  title: string
  /** The section of the config, such as `upstreams.quay.io`. */
  at: string
  hasProxy: boolean
  hasClientCertificate: boolean
  /** Where it is not the registry itself: the host of its token service, or of a redirect. */
  host?: string
}

/** An answer that is no content: its status, lower-case headers, and the beginning of its body. */
export interface Answer {
  kind: 'answer'
  status: number
  headers: Readonly<Record<string, string>>
  body: string
}

interface Details {
  cause?: unknown
  isTransient?: boolean
  retryAfter?: number | undefined
  /** HTTP status of the answer. */
  status?: number
  /** One sentence in the place of the reason's own. */
  message?: string
}

export function failureFor(
  subject: FailureSubject,
  reason: Reason,
  details: Details = {},
): Failure {
  const { cause, isTransient = false, retryAfter, status } = details
  const seconds = Math.ceil((retryAfter ?? 0) / 1000)
  const message = details.message ?? messageFor(reason, subject.title, subject.at)
  const error = new GatewayError(codeOf(reason), message, {
    reason,
    cause,
    blame: {
      ...(status === undefined ? {} : { status }),
      ...(subject.host === undefined ? {} : { host: subject.host }),
    },
    ...(seconds > 0 ? { headers: { 'retry-after': String(seconds) } } : {}),
  })
  return { kind: 'failure', reason, error, isTransient, retryAfter }
}

/** The same, without what its texts have of `secrets`: an answer may repeat what it was sent. */
export function withoutSecrets(failure: Failure, secrets: Iterable<string>): Failure {
  const { code, message, headers, blame, reason, cause } = failure.error
  const error = new GatewayError(code, redacted(message, secrets, 1000), {
    headers,
    blame,
    ...(reason === undefined ? {} : { reason }),
    ...(cause instanceof Error ? { cause: redactedCause(cause, secrets) } : {}),
  })
  return { ...failure, error }
}

function redactedCause(cause: Error, secrets: Iterable<string>): Error {
  const told = new Error(redacted(cause.message, secrets))
  return 'code' in cause ? Object.assign(told, { code: cause.code }) : told
}

/** The failure behind an error of undici, of Node or of OpenSSL. */
export function failureOfError(subject: FailureSubject, error: unknown, hasBegun = false): Failure {
  const reason = reasonOfError(subject, error, hasBegun)
  return failureFor(subject, reason, {
    cause: error,
    isTransient: !hasBegun && (transient.has(reason) || codeIn(error) === 'EAI_AGAIN'),
  })
}

const transient: ReadonlySet<Reason> = new Set([
  'no_descriptors',
  'proxy',
  'refused',
  'reset',
  'timeout',
  'truncated',
  'unreachable',
])

const reasonsByCode: Readonly<Record<string, Reason>> = {
  EADDRNOTAVAIL: 'unreachable',
  EAI_AGAIN: 'dns',
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EHOSTUNREACH: 'unreachable',
  EMFILE: 'no_descriptors',
  ENETUNREACH: 'unreachable',
  ENFILE: 'no_descriptors',
  ENOTFOUND: 'dns',
  EPIPE: 'reset',
  ERR_TLS_CERT_ALTNAME_INVALID: 'wrong_name',
  ETIMEDOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'stall',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_OVERFLOW: 'bad_response',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_PRX_CONN: 'proxy',
  UND_ERR_PRX_TLS: 'proxy',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'truncated',
}

/** On a connection to a proxy these say nothing of the upstream. */
const belowTunnel: ReadonlySet<Reason> = new Set(['dns', 'refused', 'unreachable'])

function reasonOfError(subject: FailureSubject, error: unknown, hasBegun: boolean): Reason {
  const code = codeIn(error)
  const known = reasonsByCode[code]
  if (known !== undefined) return subject.hasProxy && belowTunnel.has(known) ? 'proxy' : known
  if (error instanceof HTTPParserError) return reasonOfGarbage(error, hasBegun)
  if (code.startsWith('ERR_SSL_')) return reasonOfAlert(code, subject.hasClientCertificate)
  if (code === 'UND_ERR_SOCKET') return hasBegun ? 'truncated' : 'reset'
  if (isProxyRefusal(error)) return 'proxy'
  return reasonOfCertificate(code, error)
}

function reasonOfCertificate(code: string, error: unknown): Reason {
  // Node has no name for what OpenSSL's security level refuses, only its words.
  if (code === 'UNSPECIFIED' && error instanceof Error) {
    if (error.message.includes('digest algorithm too weak')) return 'weak_algorithm'
    if (error.message.includes('key too weak')) return 'weak_key'
  }
  if (code === 'HOSTNAME_MISMATCH' || code === 'IP_ADDRESS_MISMATCH') return 'wrong_name'
  const word = verificationReason(code)
  if (isReason(word)) return word
  return word === 'invalid' && !code.startsWith('CERT_') ? 'error' : 'invalid_certificate'
}

/** A TLS alert in the place of an HTTP answer begins with these bytes (RFC 8446 section 5.1). */
function reasonOfGarbage({ data }: Error & { data?: unknown }, hasBegun: boolean): Reason {
  if (typeof data === 'string' && data.startsWith('\u0015\u0003')) return 'not_tls'
  return hasBegun ? 'truncated' : 'bad_response'
}

/** OpenSSL names the alerts of RFC 8446 section 6.2 with and without `SSLV3_`, `TLSV1_`, `TLSV13_`. */
function reasonOfAlert(code: string, hasClientCertificate: boolean): Reason {
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNKNOWN_PROTOCOL/.test(code)) {
    return 'not_tls'
  }
  if (code.endsWith('ALERT_CERTIFICATE_REQUIRED')) return 'client_certificate_required'
  const isAboutCertificate =
    /ALERT_(?:BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_\w+|UNKNOWN_CA|ACCESS_DENIED|DECRYPT_ERROR)$/
  if (isAboutCertificate.test(code)) {
    return hasClientCertificate ? 'client_certificate_refused' : 'client_certificate_required'
  }
  // TLS 1.2 has no alert of its own for a certificate that is missing.
  const isMissing = code.endsWith('ALERT_HANDSHAKE_FAILURE') && !hasClientCertificate
  return isMissing ? 'client_certificate_required' : 'tls'
}

function isProxyRefusal(error: unknown): boolean {
  return error instanceof Error && /^Proxy (?:response|Authentication)/.test(error.message)
}

function codeIn(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown }
  return typeof code === 'string' ? code : ''
}

/** The failure behind an answer that is no content and that nothing more can be done about. */
export function failureOfAnswer(subject: FailureSubject, answer: Answer, now: number): Failure {
  const { status, headers, body } = answer
  const retryAfter = parseRetryAfter(headers['retry-after'], now)
  const reason = reasonOfAnswer(status, body)
  const cause = new Error(
    `status ${status}: ${printable(body.slice(0, 300).replaceAll(/\s+/g, ' '))}`,
  )
  if (reason === 'rate_limited') {
    return failureFor(subject, reason, {
      cause,
      status,
      retryAfter,
      isTransient: retryAfter !== undefined,
    })
  }
  const isTransient = status === 502 || status === 503 || status === 504
  return failureFor(subject, reason, {
    cause,
    status,
    isTransient,
    ...(isTransient ? { retryAfter } : {}),
  })
}

function reasonOfAnswer(status: number, body: string): Reason {
  if (status === 401 || status === 403) return 'denied'
  if (status === 429) return 'rate_limited'
  if (status === 400) return reasonOfBadRequest(body)
  if (status === 508) return 'loop'
  if (status >= 500) return 'http_5xx'
  return status >= 400 ? 'http_4xx' : 'unexpected_status'
}

/** nginx finishes the handshake first and says with a page what it thinks of the certificate. */
function reasonOfBadRequest(body: string): Reason {
  if (body.includes('No required SSL certificate was sent')) return 'client_certificate_required'
  if (body.includes('The SSL certificate error')) return 'client_certificate_refused'
  const isPlain = /plain HTTP request was sent to HTTPS port|HTTP request to an HTTPS server/
  return isPlain.test(body) ? 'not_tls' : 'http_4xx'
}
