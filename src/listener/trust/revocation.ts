// Whether a client certificate is still good: it leads to an authority that is trusted, and no
// list revokes it or an authority above it.
import type { X509Certificate } from 'node:crypto'
import { serialOf, type Authority, type ClientTrust } from './authorities.ts'

/** What is wrong, in the words of OpenSSL, and until when that may be believed. */
export interface Verdict {
  error?: 'CERT_REVOKED' | 'UNABLE_TO_GET_CRL' | 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'
  /** When the first of the lists that were looked at stops serving, ms since the epoch. */
  until: number
}

/**
 * Judges a certificate whose chain OpenSSL has verified. With `thorough` that is not taken for
 * granted, for it was done with other authorities: every signature is verified again.
 */
export function judge(trust: ClientTrust, leaf: X509Certificate, thorough: boolean): Verdict {
  if (!trust.checked && !thorough) return { until: Infinity }
  const path = [leaf]
  let rooted = false
  let until = Infinity
  // `path` grows while it is walked: where several authorities fit, all of them must be content.
  for (const certificate of path) {
    const issuers = issuersOf(trust, certificate, thorough)
    if (certificate === leaf && issuers.length === 0 && !thorough) {
      return { error: 'UNABLE_TO_GET_CRL', until }
    }
    for (const { certificate: issuer, revocation } of issuers) {
      if (revocation !== undefined) {
        if (revocation.serials.has(serialOf(certificate))) return { error: 'CERT_REVOKED', until }
        until = Math.min(until, revocation.nextUpdate + trust.maxStale)
      }
      if (issuer.checkIssued(issuer)) rooted = true
      else if (!path.includes(issuer)) path.push(issuer)
    }
  }
  if (thorough && !rooted) return { error: 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY', until }
  return { until }
}

/** A signature tells apart what names and key identifiers do not. */
function issuersOf(
  { authorities }: ClientTrust,
  certificate: X509Certificate,
  thorough: boolean,
): Authority[] {
  const named = authorities.filter((authority) => certificate.checkIssued(authority.certificate))
  if (named.length <= 1 && !thorough) return named
  return named.filter(({ key }) => certificate.verify(key))
}
