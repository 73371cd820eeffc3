// What an error of the S3 client means to the operator, and which key of the config is to change.
import type { S3Config } from '../../config/cache/schema.ts'
import { messageOf, systemCode, type Problem } from '../../errors.ts'

interface S3Problem extends Problem {
  reason: string
}

const at = 'cache.shared.s3'

/** By the error code of the answer (Amazon S3 API reference, "Error responses"). */
const known: Readonly<Record<string, (config: S3Config) => S3Problem>> = {
  NoSuchBucket: ({ bucket }) => ({
    reason: 'no_bucket',
    path: `${at}.bucket`,
    message: `there is no bucket ${bucket}: make it, or name another`,
  }),
  InvalidAccessKeyId: () => credentials('the store does not know this access key'),
  SignatureDoesNotMatch: () =>
    credentials('the secret key does not belong to the access key, or the region is another'),
  AccessDenied: ({ bucket }) =>
    credentials(`these credentials may not read, write, list and remove in bucket ${bucket}`),
  ExpiredToken: () => credentials('the session token has expired'),
  InvalidToken: () => credentials('the session token is refused'),
  CredentialsProviderError: () =>
    credentials('there are none: set file or tokenFile, or AWS_ACCESS_KEY_ID in the environment'),
  RequestTimeTooSkewed: () => clock(),
  RequestExpired: () => clock(),
  AuthorizationHeaderMalformed: () => region(),
  PermanentRedirect: () => region(),
  NotImplemented: () => passing('not_implemented', 'the store does not know what it was asked for'),
  SlowDown: () => passing('busy', 'the store asks for fewer requests'),
  ServiceUnavailable: () => passing('busy', 'the store is not available now'),
  InsufficientStorage: () => full(),
  QuotaExceeded: () => full(),
  XMinioStorageFull: () => full(),
  TimeoutError: () => passing('timeout', 'the store takes too long to answer'),
  AbortError: () => passing('timeout', 'the store takes too long to answer'),
}

export function explainS3(error: unknown, config: S3Config): S3Problem {
  const code = systemCode(error)
  // The client calls some of these a time-out.
  if (/^E[A-Z]+$/.test(code)) return passing('network', `the store cannot be reached (${code})`)
  const name = error instanceof Error ? error.name : ''
  const found = known[name]?.(config)
  if (found !== undefined) return found
  if (name === 'CredentialsFile') return credentials(messageOf(error))
  const status = statusOf(error)
  if (status === 507) return full()
  if (status === 403) return credentials('the store refuses these credentials')
  if (status === 404) return known['NoSuchBucket']?.(config) ?? passing('status_404', 'status 404')
  if (status !== undefined && status >= 500) {
    return passing(`status_${status}`, `the store answered with status ${status}`)
  }
  if (/CERT|SSL|TLS|SELF_SIGNED|UNABLE_TO/.test(code)) {
    return { reason: 'tls', path: `${at}.tls`, message: `no trusted connection (${code})` }
  }
  return passing('network', `the store cannot be reached (${code})`)
}

function credentials(message: string): S3Problem {
  return { reason: 'credentials', path: `${at}.credentials`, message }
}

function clock(): S3Problem {
  const message = 'the clock of this machine or that of the store is off: set it'
  return { reason: 'clock', path: `${at}.endpoint`, message }
}

function region(): S3Problem {
  const message = 'the bucket is in another region'
  return { reason: 'region', path: `${at}.region`, message }
}

function full(): S3Problem {
  return { reason: 'full', path: `${at}.bucket`, message: 'the store has no room left' }
}

function passing(reason: string, message: string): S3Problem {
  return { reason, path: `${at}.endpoint`, message }
}

function statusOf(error: unknown): number | undefined {
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number } }
  return $metadata?.httpStatusCode
}
