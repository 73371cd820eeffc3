// The token endpoint of the distribution token specification: who shows a certificate, a password
// or a refresh token gets a signed token for what the policy lets them pull.
import { jwtVerify, type JSONWebKeySet, type JWTPayload } from 'jose'
import type { Logger } from 'pino'
import type { AuthConfig, TokenServiceConfig } from '../../config/access-schema.ts'
import { GatewayError } from '../../errors.ts'
import type { TrustedIssuer } from '../../identity/bearer.ts'
import type { Identity } from '../../identity/identity.ts'
import type { Throttle } from '../../identity/throttle.ts'
import { accessClaims, identityOf, refreshAudience, refreshClaims } from './claims.ts'
import { readPasswords } from './htpasswd.ts'
import { openTokenKeys, type TokenKeys } from './keys.ts'
import { createLogin, type Applicant, type TokenRequest } from './login.ts'
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
   * @throws GatewayError UNAUTHORIZED for a wrong password or refresh token, or none where one can
   *   help; DENIED where only a certificate can; TOOMANYREQUESTS; REQUEST_INVALID
   */
  handle: (request: TokenRequest) => Promise<TokenAnswer>
  /** The public keys as a JSON Web Key Set. */
  jwks: () => JSONWebKeySet
  /** What makes the gateway accept the tokens that it signs. */
  issuer: TrustedIssuer
}

export interface TokenServiceOptions {
  config: TokenServiceConfig
  require: AuthConfig['require']
  log: Logger
  /** Slows down wrong passwords. */
  throttle: Throttle
  /** Whether the policy gives `identity` a token to pull `name`, which is as the client says it. */
  mayPull: (identity: Identity, name: string) => boolean
  now?: () => number
}

const clockSkew = 30_000
const tokenType = 'JWT'
/** Keeps refresh tokens apart from those that open repositories. */
const refreshType = 'refresh+jwt'

/** Throws UsageError where the key or the password file cannot be used. */
export function createTokenService(options: TokenServiceOptions): TokenService {
  const { config, throttle, now = Date.now } = options
  const keys = openTokenKeys({ ...options, file: config.key, rotateEvery: config.rotateEvery })
  const passwords = config.htpasswd === undefined ? undefined : readPasswords(config.htpasswd)
  const login = createLogin({
    passwords,
    both: options.require === 'all',
    throttle,
    refreshClaims: async (token) => verifyRefresh(token, config, keys, now()),
  })

  async function refreshToken(applicant: Applicant): Promise<string> {
    const { user } = applicant
    const fingerprint = user === undefined ? undefined : passwords?.fingerprint(user)
    return keys.sign(refreshClaims(config, applicant, fingerprint, now()), refreshType)
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
      const token = await keys.sign(accessClaims(config, applicant, access, now()), tokenType)
      const granted = formatScopes(access)
      const body = {
        token,
        access_token: token,
        token_type: 'Bearer',
        expires_in: Math.ceil(config.ttl / 1000),
        issued_at: new Date(now()).toISOString(),
        ...(request.method === 'POST' ? { scope: granted } : {}),
        ...(wantsRefresh(params) ? { refresh_token: await refreshToken(applicant) } : {}),
      }
      return { identity, granted, body }
    },
    jwks: keys.jwks,
    issuer: {
      issuer: config.issuer,
      audience: [config.service],
      algorithms: ['ES256'],
      typ: tokenType,
      clockSkew,
      groupsClaim: 'groups',
      keys: keys.source,
      own: true,
    },
  }
}

async function verifyRefresh(
  token: string,
  config: TokenServiceConfig,
  { source }: TokenKeys,
  now: number,
): Promise<JWTPayload | undefined> {
  if (token.length > 8192) return undefined
  try {
    const { payload } = await jwtVerify(token, source.key, {
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
