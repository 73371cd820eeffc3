// What the gateway's own tokens say, and the identity that the policy is asked about for one.
import { randomUUID } from 'node:crypto'
import type { JWTPayload } from 'jose'
import type { TokenServiceConfig } from '../../config/access-schema.ts'
import type {
  AccessEntry,
  CertificateIdentity,
  Identity,
  TokenIdentity,
} from '../../identity/identity.ts'
import type { Applicant } from './login.ts'

type Setting = Pick<
  TokenServiceConfig,
  'issuer' | 'service' | 'ttl' | 'refreshTtl' | 'bindToCertificate'
>

/** Claims of a token that opens repositories. `now` in ms. */
export function accessClaims(
  setting: Setting,
  { user, certificate }: Applicant,
  access: readonly AccessEntry[],
  now: number,
): JWTPayload {
  const bound = setting.bindToCertificate ? confirmation(certificate) : {}
  const cert = certificate === undefined ? {} : { cert: issuedFor(certificate, user === undefined) }
  const common = commonClaims(setting.issuer, { user, certificate }, setting.ttl, now)
  return { ...common, ...bound, ...cert, aud: setting.service, access }
}

/** Claims of a token that is good for new tokens; one got by certificate alone is always bound. */
export function refreshClaims(
  setting: Setting,
  { user, certificate }: Applicant,
  fingerprint: string | undefined,
  now: number,
): JWTPayload {
  const bind = setting.bindToCertificate || user === undefined
  return {
    ...commonClaims(setting.issuer, { user, certificate }, setting.refreshTtl, now),
    ...(bind ? confirmation(certificate) : {}),
    ...(fingerprint === undefined ? {} : { fingerprint }),
    aud: refreshAudience(setting),
  }
}

export function refreshAudience({ service }: Pick<Setting, 'service'>): string {
  return `${service}/token`
}

/** The applicant as the policy sees who holds the token, without the token's own access list. */
export function identityOf(
  { user, certificate, token: shown }: Applicant,
  issuer: string,
): Identity {
  const token = shown?.identity ?? (user === undefined ? undefined : identityOfUser(user, issuer))
  if (token === undefined) return certificate ?? { kind: 'anonymous' }
  return certificate === undefined ? token : { kind: 'certificate+token', certificate, token }
}

function identityOfUser(user: string, issuer: string): TokenIdentity {
  return {
    kind: 'token',
    id: `password:${user}`,
    issuer,
    subject: user,
    groups: [],
    claims: { iss: issuer, sub: user },
    expiresAt: 0,
  }
}

function commonClaims(
  issuer: string,
  applicant: { user: string | undefined; certificate: CertificateIdentity | undefined },
  ttl: number,
  now: number,
): JWTPayload {
  const issuedAt = Math.floor(now / 1000)
  return {
    iss: issuer,
    sub: applicant.user ?? applicant.certificate?.subject ?? '',
    iat: issuedAt,
    nbf: issuedAt,
    exp: issuedAt + Math.ceil(ttl / 1000),
    jti: randomUUID(),
  }
}

/** RFC 8705, section 3.1. */
function confirmation(certificate: CertificateIdentity | undefined): JWTPayload {
  return certificate === undefined ? {} : { cnf: { 'x5t#S256': certificate.thumbprint } }
}

function issuedFor(certificate: CertificateIdentity, alone: boolean): TokenIdentity['issuedFor'] {
  const { commonName, subject, dnsNames, uris, spiffeId, thumbprint } = certificate
  const names = { commonName, subject, dnsNames, uris, thumbprint, alone }
  return spiffeId === undefined ? names : { ...names, spiffeId }
}
