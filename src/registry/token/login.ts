// Who asks for a token: by password, by refresh token, or by client certificate.
import type { JWTPayload } from 'jose'
import { GatewayError } from '../../errors.ts'
import type { CertificateIdentity } from '../../identity/identity.ts'
import type { Throttle } from '../../identity/throttle.ts'
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

/** Who asks. Without a user it is the certificate alone that says so. */
export interface Applicant {
  user?: string
  certificate?: CertificateIdentity
}

export interface LoginOptions {
  /** Absent where nobody logs in with a password. */
  passwords: Passwords | undefined
  /** Whether a certificate is needed beside the password: `auth.require: all`. */
  both: boolean
  throttle: Throttle
  /** The claims of a refresh token of ours that is good still. */
  refreshClaims: (token: string) => Promise<JWTPayload | undefined>
}

/**
 * @returns a function that throws GatewayError UNAUTHORIZED for wrong credentials, or none where a
 *   password can help; DENIED where only a certificate can; TOOMANYREQUESTS after many failures
 */
export function createLogin({ passwords, both, throttle, refreshClaims }: LoginOptions) {
  /** Wrong ones are counted, and after some of them nobody from there is listened to for a while. */
  async function slowed(source: string, check: () => Promise<boolean>): Promise<void> {
    const wait = throttle.wait(source)
    if (wait > 0) throw tooMany(wait)
    if (await check()) return
    throttle.fail(source)
    throw loginNeeded()
  }

  async function userOfRefresh({ form, source, certificate }: TokenRequest) {
    let user: string | undefined
    await slowed(source, async () => {
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

  return async (request: TokenRequest): Promise<Applicant> => {
    const { certificate, form, source } = request
    if (both && certificate === undefined) throw certificateNeeded()
    const base = certificate === undefined ? {} : { certificate }
    if (form?.get('grant_type') === 'refresh_token') {
      const user = await userOfRefresh(request)
      return user === undefined ? base : { ...base, user }
    }
    const login = credentialsOf(request)
    if (login !== undefined && passwords !== undefined) {
      const { user, password } = login
      if (!passwords.known(user, password)) {
        await slowed(source, async () => passwords.check(user, password))
      }
      return { ...base, user }
    }
    if (certificate !== undefined && !both) return base
    throw passwords === undefined ? certificateNeeded() : loginNeeded()
  }
}

/** From the form of a POST, else from the Authorization header (RFC 7617). */
function credentialsOf({ form, authorization }: TokenRequest) {
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
  return new GatewayError('TOOMANYREQUESTS', 'too many failed logins from here: wait a while', {
    headers: { 'retry-after': String(Math.ceil(wait / 1000)) },
    reason: 'throttled',
  })
}
