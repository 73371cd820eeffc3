// Who is calling, and how that was established.

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
  /** Serial number in upper-case hex. */
  serial: string
  /** SHA-256 of the DER certificate, base64url (the `x5t#S256` of RFC 8705). */
  thumbprint: string
  /** Not-after, milliseconds since the epoch. */
  expiresAt: number
}

export type Identity = Anonymous | CertificateIdentity
