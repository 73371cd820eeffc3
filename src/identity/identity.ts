// Who is calling, and how that was established.
import type { CertificateNames } from '../rules/certificate-names.ts'

/** A caller without any credential. */
export interface Anonymous {
  kind: 'anonymous'
}

/** A caller whose client certificate was verified during the TLS handshake. */
export interface CertificateIdentity {
  kind: 'certificate'
  /** Subject common name, empty where the subject has none. */
  commonName: string
  /** Subject as RFC 4514 text, such as `CN=edge-1,O=Example`. */
  subject: string
  dnsNames: readonly string[]
  /** URI subject alternative names, SPIFFE IDs among them. */
  uris: readonly string[]
  /** The one URI, where the certificate is a valid X.509-SVID. */
  spiffeId?: string
  /** Serial number in upper-case hex. */
  serial: string
  /** SHA-256 of the DER certificate, base64url (the `x5t#S256` of RFC 8705). */
  thumbprint: string
  /** Not-after, milliseconds since the epoch. */
  expiresAt: number
}

/** One entry of a Docker token's `access` claim. */
export interface AccessEntry {
  type: string
  name: string
  actions: readonly string[]
}

/** A caller with a bearer token whose signature, issuer, audience and times were verified. */
export interface TokenIdentity {
  kind: 'token'
  /** SHA-256 of the token, base64url: tells tokens apart, and is not one. */
  id: string
  issuer: string
  /** The `sub` claim, empty where there is none. */
  subject: string
  groups: readonly string[]
  claims: Readonly<Record<string, unknown>>
  /** The `access` claim; absent where the token has none. */
  access?: readonly AccessEntry[]
  /** `cnf.x5t#S256`: the only certificate that the token is good with. */
  boundTo?: string
  /**
   * The certificate that a token of our own was issued for; `alone` where nothing but it said who
   * asked.
   */
  issuedFor?: CertificateNames & { thumbprint: string; alone: boolean }
  /** From when on the token is refused, milliseconds since the epoch. */
  expiresAt: number
}

/** A caller with both. */
export interface CombinedIdentity {
  kind: 'certificate+token'
  certificate: CertificateIdentity
  token: TokenIdentity
}

export type Identity = Anonymous | CertificateIdentity | TokenIdentity | CombinedIdentity

/** Such as `CN=edge-1`, `token alice of https://idp.example`, or both. */
export function callerName(identity: Identity): string {
  switch (identity.kind) {
    case 'anonymous':
      return 'anonymous'
    case 'certificate':
      return identity.subject
    case 'token':
      return `token ${identity.subject} of ${identity.issuer}`
    case 'certificate+token':
    default:
      return `${callerName(identity.certificate)} with ${callerName(identity.token)}`
  }
}
