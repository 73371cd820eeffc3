// What a caller hears who may not go on: a challenge where a token can help, else a plain refusal.
//
// Clients send passwords to whoever answers 401: where certificates alone decide, nobody does.
import type { AuthConfig } from '../config/access-schema.ts'
import type { Decision } from './policy.ts'

export interface ChallengeSetting {
  require: AuthConfig['require']
  /** Whether a token can be had without a certificate: by a password, or from an issuer elsewhere. */
  tokens: boolean
  /** Whether the token service gives one to the holder of a certificate. */
  tokensForCertificates: boolean
}

/** What the caller has shown. An invalid certificate never gets this far. */
export interface Shown {
  certificate: boolean
  token: 'none' | 'valid' | 'invalid'
}

export type AccessVerdict =
  | { kind: 'allow' }
  /** 401 with `challengeHeader`. */
  | { kind: 'challenge'; reason: RefusalReason; error?: 'invalid_token' | 'insufficient_scope' }
  /** 403 DENIED. */
  | { kind: 'deny'; reason: RefusalReason }

export type RefusalReason =
  'no_certificate' | 'no_token' | 'invalid_token' | 'insufficient_scope' | 'policy'

/** Decides by `auth.require` alone, as for `/v2/`, or with what the policy says of a repository. */
export function judgeAccess(
  setting: ChallengeSetting,
  shown: Shown,
  decision?: Decision,
): AccessVerdict {
  // Certificates alone decide: a token is not even looked at.
  if (setting.require === 'certificate' && !shown.certificate) return deny('no_certificate')
  if (setting.require !== 'certificate' && shown.token === 'invalid') {
    return { kind: 'challenge', reason: 'invalid_token', error: 'invalid_token' }
  }
  const missing = missingCredential(setting.require, shown)
  if (missing === 'no_token' && canHelp(setting, shown)) {
    return { kind: 'challenge', reason: 'no_token' }
  }
  if (missing !== undefined) return deny(missing)
  if (decision === undefined || decision.allowed) return { kind: 'allow' }
  if (decision.rule === 'token') {
    return { kind: 'challenge', reason: 'insufficient_scope', error: 'insufficient_scope' }
  }
  const anonymous = !shown.certificate && shown.token === 'none'
  if (anonymous && canHelp(setting, shown)) return { kind: 'challenge', reason: 'policy' }
  return deny('policy')
}

export interface Challenge {
  /** URL of the token service; absent where tokens come from elsewhere. */
  realm?: string
  service: string
  /** Such as `repository:docker.io/library/alpine:pull`. */
  scope?: string
  error?: 'invalid_token' | 'insufficient_scope'
}

/** The value of `WWW-Authenticate` (RFC 6750, and the distribution token specification). */
export function challengeHeader({ realm, service, scope, error }: Challenge): string {
  const parameters = Object.entries({ realm, service, scope, error })
  return `Bearer ${parameters
    .flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}="${value.replaceAll(/[^\x20-\x7e]|["\\]/g, '')}"`],
    )
    .join(',')}`
}

function missingCredential(
  require: AuthConfig['require'],
  { certificate, token }: Shown,
): 'no_certificate' | 'no_token' | undefined {
  const hasToken = token === 'valid'
  if (require === 'all' && !certificate) return 'no_certificate'
  if ((require === 'all' || require === 'token') && !hasToken) return 'no_token'
  if (require === 'any' && !certificate && !hasToken) return 'no_token'
  return undefined
}

function canHelp({ tokens, tokensForCertificates }: ChallengeSetting, shown: Shown): boolean {
  return tokens || (tokensForCertificates && shown.certificate)
}

function deny(reason: RefusalReason): AccessVerdict {
  return { kind: 'deny', reason }
}
