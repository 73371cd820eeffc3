// The certificates that an upstream presents, as an operator reads them.
import type { X509Certificate } from 'node:crypto'

export interface ChainCertificate {
  /** As in `CN=nginx, O=Example`. */
  subject: string
  issuer: string
  /** DNS names, addresses and URIs that it is for. */
  names: string[]
  /** ISO 8601. */
  validFrom: string
  validTo: string
  /** Whole days; negative once it has expired. */
  daysLeft: number
  /** As OpenSSL calls it, such as `ecdsa-with-SHA256`. */
  signatureAlgorithm: string
  /** SHA-256, in hex with colons. */
  fingerprint: string
}

const day = 86_400_000
/** No real chain is longer; OpenSSL itself stops at 100. */
const longest = 10

/** The leaf and what was sent along with it; `now` in ms. */
export function chainOf(leaf: X509Certificate | undefined, now: number): ChainCertificate[] {
  const chain: ChainCertificate[] = []
  let certificate = leaf
  while (certificate !== undefined && chain.length < longest) {
    const { fingerprint256 } = certificate
    if (chain.some(({ fingerprint }) => fingerprint === fingerprint256)) break
    chain.push(describe(certificate, now))
    certificate = certificate.issuerCertificate
  }
  return chain
}

function describe(certificate: X509Certificate, now: number): ChainCertificate {
  const { subject, issuer, subjectAltName, validFromDate, validToDate } = certificate
  return {
    subject: onOneLine(subject),
    issuer: onOneLine(issuer),
    names: (subjectAltName ?? '')
      .split(/, (?=[A-Za-z ]+:)/)
      .map((name) => name.replace(/^[A-Za-z ]+:/, ''))
      .filter((name) => name !== ''),
    validFrom: validFromDate.toISOString(),
    validTo: validToDate.toISOString(),
    daysLeft: Math.floor((validToDate.getTime() - now) / day),
    signatureAlgorithm: certificate.signatureAlgorithm ?? '',
    fingerprint: certificate.fingerprint256,
  }
}

/** Node puts each attribute of a name on a line of its own; a certificate may have no subject. */
function onOneLine(name: string | undefined): string {
  return (name ?? '').replaceAll('\n', ', ')
}
