// Bearer tokens (RFC 6750) that are JWTs: verified by jose, with everything pinned by the config.
import { hash } from 'node:crypto'
import type { JWTPayload } from 'jose'
import { jose } from '../rules/rare/packages.ts'
import { LRUCache } from 'lru-cache'
import { claimValues } from '../config/claim.ts'
import type { AccessEntry, TokenIdentity } from './identity.ts'
import { KeysUnavailable, type KeySource } from './jwks.ts'

export interface TrustedIssuer {
  issuer: string
  audience: readonly string[]
  algorithms: readonly string[]
  typ?: string
  /** Milliseconds. */
  clockSkew: number
  groupsClaim: string
  keys: KeySource
  /** Our own token service: only its word on the certificate that a token is for is believed. */
  own?: boolean
}

/** A token that is not accepted. The reason is for the log and the metrics, not for the client. */
export interface InvalidToken {
  kind: 'invalid'
  reason: InvalidReason
}

export type InvalidReason =
  | 'algorithm'
  | 'audience'
  | 'binding'
  | 'claims'
  | 'expired'
  | 'header'
  | 'keys_unavailable'
  | 'malformed'
  | 'not_yet_valid'
  | 'signature'
  | 'too_large'
  | 'type'
  | 'unknown_issuer'
  | 'unknown_key'

export interface BearerVerifier {
  /** The identity in a token that was verified before and is still good; nothing if it was not. */
  known(token: string): TokenIdentity | undefined
  /** Never rejects. Says nothing of the certificate that the token may be bound to: see `isBound`. */
  verify(token: string): Promise<TokenIdentity | InvalidToken>
}

/** Characters of a token; more is refused unread. */
const longest = 16_384
/** Characters of the verified tokens whose identities are remembered. */
const remembered = 8 * 2 ** 20
/** Header parameters that would have us use a key, or a rule, of the token's own choice. */
const refusedParameters = ['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64', 'zip', 'enc']

export function createBearerVerifier(
  issuers: readonly TrustedIssuer[],
  now: () => number = Date.now,
): BearerVerifier {
  const byName = new Map(issuers.map((issuer) => [issuer.issuer, issuer]))
  const memory = new LRUCache<string, TokenIdentity>({ maxSize: remembered })

  function known(token: string): TokenIdentity | undefined {
    if (token.length > longest) return undefined
    const id = idOf(token)
    const identity = memory.get(id)
    if (identity === undefined || now() < identity.expiresAt) return identity
    memory.delete(id)
    return undefined
  }

  return {
    known,
    async verify(token) {
      const before = known(token)
      if (before !== undefined) return before
      try {
        const identity = await verify(token, byName, now)
        memory.set(identity.id, identity, { size: token.length })
        return identity
      } catch (error) {
        return { kind: 'invalid', reason: reasonOf(error) }
      }
    },
  }
}

/** Whether a token may come with this certificate (its thumbprint), or without any. */
export function isBound(token: TokenIdentity, thumbprint: string | undefined): boolean {
  if (token.boundTo !== undefined && token.boundTo !== thumbprint) return false
  const { issuedFor } = token
  // Not bound, it may come without its certificate, but not with somebody else's.
  return issuedFor === undefined || thumbprint === undefined || issuedFor.thumbprint === thumbprint
}

class Refused extends Error {
  override readonly name = 'Refused'
  readonly reason: InvalidReason

  constructor(reason: InvalidReason) {
    super(reason)
    this.reason = reason
  }
}

async function verify(
  token: string,
  issuers: ReadonlyMap<string, TrustedIssuer>,
  now: () => number,
): Promise<TokenIdentity> {
  checkForm(token)
  const issuer = issuers.get(jose().decodeJwt(token).iss ?? '')
  if (issuer === undefined) throw new Refused('unknown_issuer')
  const { payload } = await jose().jwtVerify(token, issuer.keys.key, {
    issuer: issuer.issuer,
    audience: [...issuer.audience],
    algorithms: [...issuer.algorithms],
    requiredClaims: ['iss', 'aud', 'exp'],
    clockTolerance: issuer.clockSkew / 1000,
    currentDate: new Date(now()),
    ...(issuer.typ === undefined ? {} : { typ: issuer.typ }),
  })
  if (payload.iat !== undefined && payload.iat * 1000 > now() + issuer.clockSkew) {
    throw new Refused('not_yet_valid')
  }
  return identityOf(token, payload, issuer)
}

/** What must be refused before any key is looked for. */
function checkForm(token: string): void {
  if (token.length > longest) throw new Refused('too_large')
  const parts = token.split('.')
  if (parts.length !== 3 || !parts.every(isCanonical)) throw new Refused('malformed')
  const header = jose().decodeProtectedHeader(token)
  if (refusedParameters.some((name) => Object.hasOwn(header, name))) throw new Refused('header')
}

/** One way only to write the same bytes: no second token that differs in unused bits. */
function isCanonical(part: string): boolean {
  return part !== '' && Buffer.from(part, 'base64url').toString('base64url') === part
}

function identityOf(token: string, payload: JWTPayload, issuer: TrustedIssuer): TokenIdentity {
  const access = accessOf(payload['access'])
  const boundTo = boundToOf(payload['cnf'])
  const issuedFor = issuer.own === true ? payload['cert'] : undefined
  return {
    kind: 'token',
    id: idOf(token),
    issuer: issuer.issuer,
    subject: typeof payload.sub === 'string' ? payload.sub : '',
    groups: claimValues(payload, issuer.groupsClaim),
    claims: payload,
    ...(access === undefined ? {} : { access }),
    ...(boundTo === undefined ? {} : { boundTo }),
    ...(issuedFor === undefined
      ? {}
      : { issuedFor: issuedFor as NonNullable<TokenIdentity['issuedFor']> }),
    expiresAt: (payload.exp ?? 0) * 1000 + issuer.clockSkew,
  }
}

/** RFC 8705, section 3.1. A confirmation by other means cannot be checked here: refused. */
function boundToOf(confirmation: unknown): string | undefined {
  if (confirmation === undefined) return undefined
  if (typeof confirmation !== 'object' || confirmation === null) throw new Refused('claims')
  const methods = Object.entries(confirmation)
  const [method, thumbprint] = methods[0] ?? []
  if (methods.length !== 1 || method !== 'x5t#S256') throw new Refused('binding')
  if (typeof thumbprint !== 'string' || thumbprint === '') throw new Refused('claims')
  return thumbprint
}

function accessOf(access: unknown): AccessEntry[] | undefined {
  if (access === undefined) return undefined
  if (!Array.isArray(access) || !access.every(isEntry)) throw new Refused('claims')
  return access
}

function isEntry(entry: unknown): entry is AccessEntry {
  const { type, name, actions } = (entry ?? {}) as Partial<Record<keyof AccessEntry, unknown>>
  return (
    typeof type === 'string' &&
    typeof name === 'string' &&
    Array.isArray(actions) &&
    actions.every((action) => typeof action === 'string')
  )
}

function idOf(token: string): string {
  return hash('sha256', token, 'base64url')
}

function reasonOf(error: unknown): InvalidReason {
  if (error instanceof Refused) return error.reason
  if (error instanceof KeysUnavailable) return 'keys_unavailable'
  const { errors } = jose()
  if (error instanceof errors.JWTExpired) return 'expired'
  if (error instanceof errors.JWTClaimValidationFailed) return reasonOfClaim(error.claim)
  if (error instanceof errors.JOSEAlgNotAllowed) return 'algorithm'
  if (error instanceof errors.JWSSignatureVerificationFailed) return 'signature'
  if (error instanceof errors.JWKSNoMatchingKey) return 'unknown_key'
  if (error instanceof errors.JWKSMultipleMatchingKeys) return 'unknown_key'
  return 'malformed'
}

function reasonOfClaim(claim: string): InvalidReason {
  const reasons: Record<string, InvalidReason> = {
    aud: 'audience',
    iss: 'unknown_issuer',
    nbf: 'not_yet_valid',
    typ: 'type',
  }
  return reasons[claim] ?? 'claims'
}
