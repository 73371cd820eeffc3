// Who asks for a token: by password, by refresh token, by another issuer's token as the password,
// or by client certificate.
import type { JWTPayload } from 'jose'
import { LRUCache } from 'lru-cache'
import { GatewayError } from '../../errors.ts'
import { isBound, type InvalidToken } from '../../identity/bearer.ts'
import type { CertificateIdentity, TokenIdentity } from '../../identity/identity.ts'
import { sourceOf, type Throttle } from '../../identity/throttle.ts'
import { keysUnavailable } from '../authenticate.ts'
import type { Passwords } from './htpasswd.ts'

export interface TokenRequest {
  method: 'GET' | 'POST'
  query: URLSearchParams
  /** The body of a POST. */
  form?: URLSearchParams
  /** The Authorization header. */
  authorization?: string
  certificate?: CertificateIdentity
  /** Address of the client. */
  source: string
}

/** Who asks. Without user and token it is the certificate alone that says so. */
export interface Applicant {
  user?: string
  certificate?: CertificateIdentity
  /** A token of another issuer, shown as the password. */
  token?: { text: string; identity: TokenIdentity }
}

/** What failed logins are counted by. */
export interface LoginThrottles {
  sources: Throttle
  accounts: Throttle
}

export interface LoginOptions {
  /** Absent where nobody logs in with a password of ours. */
  passwords: Passwords | undefined
  /** Whether a certificate is needed beside the password: `auth.require: all`. */
  both: boolean
  throttles: LoginThrottles
  /** The claims of a refresh token of ours that is good still. */
  refreshClaims: (token: string) => Promise<JWTPayload | undefined>
  /** Verifies a token of another issuer; absent where none is trusted. */
  verifyToken?: ((token: string) => Promise<TokenIdentity | InvalidToken>) | undefined
}

/** Pairs of user and source with a login that went well, remembered. */
const rememberedSources = 10_000

/**
 * @returns a function that throws GatewayError UNAUTHORIZED for wrong credentials, or none where a
 *   password can help; DENIED where only a certificate can; TOOMANYREQUESTS after many failures;
 *   UNAVAILABLE where the keys to verify a token with cannot be had
 */
export function createLogin(options: LoginOptions) {
  const { passwords, both, throttles, refreshClaims, verifyToken } = options
  const checkPassword = createPasswordCheck(throttles)

  async function userOfRefresh({ form, source, certificate }: TokenRequest) {
    let user: string | undefined
    await slowed([[throttles.sources, sourceOf(source, certificate)]], async () => {
      const claims = await refreshClaims(form?.get('refresh_token') ?? '')
      if (claims === undefined) return false
      const confirmation = claims['cnf'] as { 'x5t#S256'?: string } | undefined
      const thumbprint = confirmation?.['x5t#S256']
      if (thumbprint !== undefined && thumbprint !== certificate?.thumbprint) return false
      if (claims['fingerprint'] === undefined) return thumbprint !== undefined && !both
      user = claims.sub ?? ''
      // A user who is gone, or has another password now, gets nothing for the old login.
      return passwords?.fingerprint(user) === claims['fingerprint']
    })
    return user
  }

  async function byToken(
    text: string,
    { source, certificate }: TokenRequest,
    verify: NonNullable<LoginOptions['verifyToken']>,
  ): Promise<Applicant['token']> {
    let identity: TokenIdentity | undefined
    await slowed([[throttles.sources, sourceOf(source, certificate)]], async () => {
      const outcome = await verify(text)
      if (outcome.kind === 'invalid') {
        if (outcome.reason === 'keys_unavailable') throw keysUnavailable()
        return false
      }
      identity = outcome
      return isBound(outcome, certificate?.thumbprint)
    })
    return identity === undefined ? undefined : { text, identity }
  }

  return async (request: TokenRequest): Promise<Applicant> => {
    const { certificate, form } = request
    if (both && certificate === undefined) throw certificateNeeded()
    const base = certificate === undefined ? {} : { certificate }
    if (form?.get('grant_type') === 'refresh_token') {
      const user = await userOfRefresh(request)
      return user === undefined ? base : { ...base, user }
    }
    const login = credentialsOf(request)
    if (login !== undefined && verifyToken !== undefined && isTokenLike(login.password)) {
      const token = await byToken(login.password, request, verifyToken)
      return token === undefined ? base : { ...base, token }
    }
    if (login !== undefined && passwords !== undefined) {
      await checkPassword(passwords, login, sourceOf(request.source, certificate))
      return { ...base, user: login.user }
    }
    if (certificate !== undefined && !both) return base
    throw passwords === undefined && verifyToken === undefined ? certificateNeeded() : loginNeeded()
  }
}

interface Login {
  user: string
  password: string
}

/**
 * Failures count for the source and for the account, so that neither many addresses nor many
 * accounts make guessing faster. Where somebody has logged in as the user before, the account's do
 * not count: nobody elsewhere can lock a user out who is at work already.
 */
function createPasswordCheck({ sources, accounts }: LoginThrottles) {
  const proven = new LRUCache<string, true>({ max: rememberedSources })
  const running = new Map<string, Promise<void>>()

  async function check(passwords: Passwords, { user, password }: Login, source: string) {
    const pair = `${source} ${user}`
    const counted: Counted[] = [[sources, source]]
    if (!proven.has(pair)) counted.push([accounts, user])
    // A password that was right before is under the same limits as one that was not: else the
    // answer to a guess would come through all the same.
    await slowed(
      counted,
      async () => passwords.known(user, password) || passwords.check(user, password),
    )
    proven.set(pair, true)
  }

  /** The same login sent many times at once is one attempt. */
  return async (passwords: Passwords, login: Login, source: string): Promise<void> => {
    const key = JSON.stringify([source, login.user, login.password])
    const same = running.get(key)
    if (same !== undefined) return same
    const attempt = check(passwords, login, source).finally(() => running.delete(key))
    running.set(key, attempt)
    return attempt
  }
}

type Counted = readonly [throttle: Throttle, key: string]

/**
 * Listens to an attempt only where none of the throttles says to wait. It counts from its beginning,
 * so that many at once are no more than one after the other; a right one is taken back.
 */
async function slowed(counted: readonly Counted[], check: () => Promise<boolean>): Promise<void> {
  const wait = Math.max(...counted.map(([throttle, key]) => throttle.wait(key)))
  if (wait > 0) throw tooMany(wait)
  for (const [throttle, key] of counted) throttle.fail(key)
  let isWrong = false
  try {
    isWrong = !(await check())
  } finally {
    if (!isWrong) for (const [throttle, key] of counted) throttle.forgive(key)
  }
  if (isWrong) throw loginNeeded()
}

/** The form of a signed JWT; a password of ours has 72 bytes at most. */
function isTokenLike(password: string): boolean {
  return password.length > 72 && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(password)
}

/** From the form of a POST, else from the Authorization header (RFC 7617). */
export function credentialsOf({
  form,
  authorization,
}: Pick<TokenRequest, 'form' | 'authorization'>): Login | undefined {
  if (form !== undefined) {
    return { user: form.get('username') ?? '', password: form.get('password') ?? '' }
  }
  const encoded = /^basic +([A-Za-z0-9+/]+=*) *$/i.exec(authorization ?? '')?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return { user: text.slice(0, Math.max(colon, 0)), password: text.slice(colon + 1) }
}

function loginNeeded(): GatewayError {
  return new GatewayError('UNAUTHORIZED', 'log in with a user name and password of this gateway', {
    headers: { 'www-authenticate': 'Basic realm="portcullis", charset="UTF-8"' },
    reason: 'login',
  })
}

function certificateNeeded(): GatewayError {
  return new GatewayError('DENIED', 'a token is given to the holder of a client certificate only', {
    reason: 'no_certificate',
  })
}

function tooMany(wait: number): GatewayError {
  return new GatewayError('TOOMANYREQUESTS', 'too many failed logins: wait a while', {
    headers: { 'retry-after': String(Math.ceil(wait / 1000)) },
    reason: 'throttled',
  })
}
