// The token endpoint of the distribution token specification: who shows a certificate, a password
// or a refresh token gets a signed token for what the policy lets them pull.
import type { JSONWebKeySet, JWTPayload } from 'jose'
import { jose } from '../../rules/rare/packages.ts'
import type { Logger } from 'pino'
import type { AuthConfig, TokenServiceConfig } from '../../config/access-schema.ts'
import { GatewayError } from '../../errors.ts'
import type { InvalidToken, TrustedIssuer } from '../../identity/bearer.ts'
import type { Identity, TokenIdentity } from '../../identity/identity.ts'
import { accessClaims, identityOf, refreshAudience, refreshClaims } from './claims.ts'
import { readPasswords } from './htpasswd.ts'
import type { KeySource } from '../../identity/jwks.ts'
import { checkTokenKeys, openTokenKeys, type TokenKeys } from './keys.ts'
import {
  createLogin,
  credentialsOf,
  type Applicant,
  type LoginThrottles,
  type TokenRequest,
} from './login.ts'
import { formatScopes, grant, parseScopes } from './scope.ts'

export interface TokenAnswer {
  body: Record<string, unknown>
  /** Who got the token, for the log. */
  identity: Identity
  /** The scopes that it has, parted by spaces. */
  granted: string
}

export interface TokenService {
  /**
   * Opens the keys, and makes or replaces them where that is due: before anything else is asked of
   * it. Throws UsageError where that cannot be done.
   */
  start: () => void
  /**
   * @throws GatewayError UNAUTHORIZED for a wrong password or refresh token, or none where one can
   *   help; DENIED where only a certificate can; TOOMANYREQUESTS; REQUEST_INVALID
   */
  handle: (request: TokenRequest) => Promise<TokenAnswer>
  /** The user whom a request names, where there is one: what else stands there may be a secret. */
  userIn: (request: TokenRequest) => string | undefined
  /** The public keys as a JSON Web Key Set. */
  jwks: () => JSONWebKeySet
  /** What makes the gateway accept the tokens that it signs. */
  issuer: TrustedIssuer
}

export interface TokenServiceOptions {
  config: TokenServiceConfig
  require: AuthConfig['require']
  log: Logger
  /** Slow down wrong passwords and refresh tokens. */
  throttles: LoginThrottles
  /** Verifies a token of another issuer, which may be shown as the password; absent: there is none. */
  verifyToken?: ((token: string) => Promise<TokenIdentity | InvalidToken>) | undefined
  /** Whether the policy gives `identity` a token to pull `name`, which is as the client says it. */
  mayPull: (identity: Identity, name: string) => boolean
  now?: () => number
}

const clockSkew = 30_000
const tokenType = 'JWT'
/** Keeps refresh tokens apart from those that open repositories. */
const refreshType = 'refresh+jwt'

/** Throws UsageError where the key or the password file cannot be used; changes nothing. */
export function createTokenService(options: TokenServiceOptions): TokenService {
  const { config, throttles, verifyToken, now = Date.now } = options
  const { keys, start, source } = keysOnceStarted(options)
  const passwords = config.htpasswd === undefined ? undefined : readPasswords(config.htpasswd)
  const login = createLogin({
    passwords,
    both: options.require === 'all',
    throttles,
    verifyToken:
      verifyToken === undefined
        ? undefined
        : async (token) => {
            const outcome = await verifyToken(token)
            // A token of our own gets no other: it would never end.
            return outcome.kind === 'token' && outcome.issuer === config.issuer
              ? { kind: 'invalid', reason: 'unknown_issuer' }
              : outcome
          },
    refreshClaims: async (token) => verifyRefresh(token, config, keys(), now()),
  })

  async function refreshToken(applicant: Applicant): Promise<string> {
    const { user } = applicant
    const fingerprint = user === undefined ? undefined : passwords?.fingerprint(user)
    return keys().sign(refreshClaims(config, applicant, fingerprint, now()), refreshType)
  }

  return {
    async handle(request) {
      const params = paramsOf(request)
      const service = params.get('service')
      if (service !== null && service !== config.service) throw wrongService(config.service)
      const applicant = await login(request)
      const identity = identityOf(applicant, config.issuer)
      const access = grant(parseScopes(params.getAll('scope')), (name) =>
        options.mayPull(identity, name),
      )
      const granted = formatScopes(access)
      const given =
        applicant.token === undefined
          ? {
              token: await keys().sign(accessClaims(config, applicant, access, now()), tokenType),
              seconds: Math.ceil(config.ttl / 1000),
            }
          : handedBack(applicant.token, now())
      const refreshable = applicant.token === undefined && wantsRefresh(params)
      const body = {
        token: given.token,
        access_token: given.token,
        token_type: 'Bearer',
        expires_in: given.seconds,
        issued_at: new Date(now()).toISOString(),
        ...(request.method === 'POST' ? { scope: granted } : {}),
        ...(refreshable ? { refresh_token: await refreshToken(applicant) } : {}),
      }
      return { identity, granted, body }
    },
    userIn(request) {
      const user = credentialsOf(request)?.user
      return user !== undefined && passwords?.fingerprint(user) !== undefined ? user : undefined
    },
    jwks: () => keys().jwks(),
    start,
    issuer: {
      issuer: config.issuer,
      audience: [config.service],
      algorithms: ['ES256'],
      typ: tokenType,
      clockSkew,
      groupsClaim: 'groups',
      keys: source,
      own: true,
    },
  }
}

/**
 * Another issuer's token opens what it opens by itself: given back, it says who its holder is, in
 * which groups and until when, and nothing of ours outlives it.
 */
function handedBack({ text, identity }: NonNullable<Applicant['token']>, now: number) {
  const { exp } = identity.claims
  const left = typeof exp === 'number' ? exp - Math.floor(now / 1000) : 0
  return { token: text, seconds: Math.max(left, 1) }
}

/** The keys, which are read when the service is made, and opened when it starts. */
function keysOnceStarted({ config, ...options }: TokenServiceOptions) {
  checkTokenKeys(config.key)
  let opened: TokenKeys | undefined
  const keys = (): TokenKeys => {
    if (opened === undefined) throw new Error('the token service has not started')
    return opened
  }
  const source: KeySource = {
    key: async (header, token) => keys().source.key(header, token),
    close: async () => opened?.source.close(),
  }
  const start = () => {
    opened ??= openTokenKeys({ ...options, file: config.key, rotateEvery: config.rotateEvery })
  }
  return { keys, start, source }
}

async function verifyRefresh(
  token: string,
  config: TokenServiceConfig,
  { source }: TokenKeys,
  now: number,
): Promise<JWTPayload | undefined> {
  if (token.length > 8192) return undefined
  try {
    const { payload } = await jose().jwtVerify(token, source.key, {
      issuer: config.issuer,
      audience: refreshAudience(config),
      typ: refreshType,
      algorithms: ['ES256'],
      requiredClaims: ['exp'],
      clockTolerance: clockSkew / 1000,
      currentDate: new Date(now),
    })
    return payload
  } catch {
    return undefined
  }
}

function paramsOf({ method, query, form }: TokenRequest): URLSearchParams {
  if (method === 'GET') return query
  const type = form?.get('grant_type')
  if (form === undefined || (type !== 'password' && type !== 'refresh_token')) {
    throw new GatewayError('REQUEST_INVALID', 'grant_type must be password or refresh_token')
  }
  return form
}

function wantsRefresh(params: URLSearchParams): boolean {
  return params.get('offline_token') === 'true' || params.get('access_type') === 'offline'
}

function wrongService(service: string): GatewayError {
  return new GatewayError('REQUEST_INVALID', `tokens are given for the service ${service} only`)
}
