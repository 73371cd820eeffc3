// Defines the errors, the HTTP statuses of their codes, and the words for why a certificate fails.

/**
 * Codes a client may see. The first group is the distribution specification's own; the second is
 * ours, for what a gateway can fail at and a registry cannot.
 */
export const statusOf = {
  BLOB_UNKNOWN: 404,
  DENIED: 403,
  DIGEST_INVALID: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  PAGINATION_NUMBER_INVALID: 400,
  RANGE_INVALID: 416,
  TOOMANYREQUESTS: 429,
  UNAUTHORIZED: 401,
  UNSUPPORTED: 405,

  HEADERS_TOO_LARGE: 431,
  INTERNAL: 500,
  LOOP_DETECTED: 508,
  NOT_FOUND: 404,
  REQUEST_INVALID: 400,
  REQUEST_TIMEOUT: 408,
  UNAVAILABLE: 503,
  UPSTREAM_FAILED: 502,
  UPSTREAM_TIMEOUT: 504,
} as const

export type ErrorCode = keyof typeof statusOf

export interface GatewayErrorOptions {
  /** What went wrong underneath; logged, never sent to a client. */
  cause?: unknown
  /** Structured detail of the OCI error body. */
  detail?: unknown
  /** Extra response headers, lower-case names, such as `retry-after`. */
  headers?: Record<string, string>
  /** The short machine-readable cause that metrics count by, such as `unknown_ca`. */
  reason?: string
  blame?: Blame
}

/** Who failed where the gateway asked somebody: what need not be asked for a while. */
export interface Blame {
  /** HTTP status of the answer; absent where there was none. */
  status?: number
  /** `host[:port]` of a token service or of the target of a redirect; absent: the registry itself. */
  host?: string
}

/** A failure with a code of the table above. The message tells its reader what to do next. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: ErrorCode
  readonly detail: unknown
  readonly headers: Record<string, string>
  readonly reason: string | undefined
  /** Never sent to a client. */
  readonly blame: Blame

  constructor(code: ErrorCode, message: string, options: GatewayErrorOptions = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.code = code
    this.detail = options.detail
    this.headers = options.headers ?? {}
    this.reason = options.reason
    this.blame = options.blame ?? {}
  }

  get status(): number {
    return statusOf[this.code]
  }
}

/** One thing wrong with the command line or the config. */
export interface Problem {
  /** Where: a config path such as `upstreams.docker.io.tls.ca`, or an option such as `--config`. */
  path: string
  /** What is wrong and what to write instead, one sentence. */
  message: string
}

/** The command line or the config is wrong: exit code 2, every problem on a line of its own. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly problems: readonly Problem[]

  constructor(problems: readonly Problem[]) {
    super(problems.map(({ path, message }) => `${path}: ${message}`).join('\n'))
    this.problems = problems
  }
}

/** What anything that was thrown says of itself. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** The code that the system or Node gave an error, such as `ENOENT`; its text where it has none. */
export function systemCode(error: unknown): string {
  const code: unknown = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' ? code : String(error)
}

/** What is done with a file, undefined where that is not there. */
export async function ifThere<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

const verificationReasons: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'expired',
  CERT_NOT_YET_VALID: 'not_yet_valid',
  CERT_REVOKED: 'revoked',
  CA_MD_TOO_WEAK: 'weak_algorithm',
  CERT_CHAIN_TOO_LONG: 'chain_too_long',
  CERT_REJECTED: 'rejected',
  CERT_SIGNATURE_FAILURE: 'bad_signature',
  CERT_UNTRUSTED: 'unknown_ca',
  CRL_HAS_EXPIRED: 'crl_expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'unknown_ca',
  EE_KEY_TOO_SMALL: 'weak_key',
  CA_KEY_TOO_SMALL: 'weak_key',
  INVALID_CA: 'unknown_ca',
  INVALID_PURPOSE: 'wrong_purpose',
  PATH_LENGTH_EXCEEDED: 'chain_too_long',
  SELF_SIGNED_CERT_IN_CHAIN: 'unknown_ca',
  UNABLE_TO_GET_CRL: 'crl_missing',
  UNABLE_TO_GET_ISSUER_CERT: 'unknown_ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'unknown_ca',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'unknown_ca',
}

/**
 * A short word for one of OpenSSL's verification codes, as in `authorizationError` of a TLS socket;
 * `invalid` for a code that has none of its own.
 */
export function verificationReason(code: unknown): string {
  const name = code instanceof Error && 'code' in code ? code.code : code
  return (typeof name === 'string' ? verificationReasons[name] : undefined) ?? 'invalid'
}
