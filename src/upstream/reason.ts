// The words for why an upstream cannot be asked, and what an operator looks at for each.
import type { ErrorCode } from '../errors.ts'

interface Meaning {
  /** UPSTREAM_FAILED when absent. */
  code?: ErrorCode
  /** Continues "the upstream …". */
  what: string
  /** Keys of the upstream's section that may be wrong. */
  keys: readonly string[]
}

const meanings = {
  bad_response: { what: 'answers, but not as a registry does', keys: ['url'] },
  client_certificate_refused: {
    what: 'refuses the client certificate of the gateway',
    keys: ['tls.cert', 'tls.pfx'],
  },
  client_certificate_required: {
    what: 'wants a client certificate',
    keys: ['tls.cert', 'tls.key', 'tls.pfx'],
  },
  credentials_refused: {
    code: 'DENIED',
    what: 'does not take the credentials of the gateway: they may have expired',
    keys: ['auth'],
  },
  denied: { code: 'DENIED', what: 'refuses the gateway this repository', keys: ['auth'] },
  dns: { what: 'has a name that does not resolve', keys: ['url'] },
  error: { what: 'cannot be asked', keys: ['url'] },
  expired: { what: 'has a certificate that has expired: it must be renewed there', keys: [] },
  http_4xx: { what: 'calls the request wrong', keys: ['url'] },
  http_5xx: { what: 'fails: its own log says why', keys: [] },
  invalid_certificate: { what: 'has a certificate that is not valid', keys: ['tls.ca'] },
  loop: {
    code: 'LOOP_DETECTED',
    what: 'leads back to a gateway on the way',
    keys: ['url', 'endpoints'],
  },
  no_credentials: {
    what: 'is not asked, because the credential helper has no credentials for it',
    keys: ['auth.helper', 'auth.dockerConfig'],
  },
  no_descriptors: {
    code: 'UNAVAILABLE',
    what: 'is not asked, because this process has too many files and connections open: raise its limit of descriptors',
    keys: [],
  },
  not_tls: { what: 'speaks plain HTTP where TLS is expected, or the reverse', keys: ['url'] },
  not_yet_valid: {
    what: 'has a certificate that is not valid yet: compare the clocks of both machines',
    keys: [],
  },
  proxy: { what: 'is not reached through the proxy', keys: ['proxy'] },
  rate_limited: { code: 'TOOMANYREQUESTS', what: 'allows no more requests for now', keys: [] },
  refused: { what: 'refuses the connection: nothing listens there', keys: ['url'] },
  reset: { what: 'broke the connection', keys: [] },
  stall: { code: 'UPSTREAM_TIMEOUT', what: 'stopped sending', keys: ['stallTimeout'] },
  timeout: {
    code: 'UPSTREAM_TIMEOUT',
    what: 'does not answer in time',
    keys: ['url', 'connectTimeout', 'headersTimeout'],
  },
  tls: { what: 'ends the TLS handshake', keys: ['tls'] },
  truncated: { what: 'sent less than it announced', keys: [] },
  unexpected_status: { what: 'answers with a status that has no meaning here', keys: ['url'] },
  unknown_ca: {
    what: 'has a certificate of an authority that is not trusted',
    keys: ['tls.ca'],
  },
  unreachable: { what: 'is not reachable: there is no route', keys: ['url'] },
  weak_algorithm: {
    what: 'has a certificate signed with an outdated algorithm such as SHA-1: it must be issued anew there, with SHA-256',
    keys: [],
  },
  weak_key: {
    what: 'has a certificate whose key is too short: it must be issued anew there, with P-256 or RSA from 2048 bits',
    keys: [],
  },
  wrong_name: {
    what: 'has a certificate for another name',
    keys: ['url', 'tls.serverName'],
  },
  wrong_purpose: { what: 'has a certificate that is not made for servers', keys: [] },
} as const satisfies Record<string, Meaning>

/** Of a small set: safe as a metric label. */
export type Reason = keyof typeof meanings

export const reasons = Object.keys(meanings) as readonly Reason[]

export function isReason(text: string): text is Reason {
  return Object.hasOwn(meanings, text)
}

export function codeOf(reason: Reason): ErrorCode {
  const meaning: Meaning = meanings[reason]
  return meaning.code ?? 'UPSTREAM_FAILED'
}

/** One sentence about `subject`; names the keys below `at`, such as `upstreams.quay.io`. */
export function messageFor(reason: Reason, subject: string, at: string): string {
  const { what, keys }: Meaning = meanings[reason]
  const hint = keys.map((key) => `${at}.${key}`).join(', ')
  return `${subject} ${what}${hint === '' ? '' : `; check ${hint}`}`
}
