// Judges the chain of a client certificate by what is in force now: its dates, a way to an authority
// that is trusted, and that no list revokes a certificate on that way.
import type { X509Certificate } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import {
  serialOf,
  type TrustedAuthority,
  type ClientTrust,
  type RevocationLists,
} from './authorities.ts'

/** What is wrong, in the words of OpenSSL; the first is what is told where several are true. */
const errors = [
  'CERT_REVOKED',
  'CRL_HAS_EXPIRED',
  'UNABLE_TO_GET_CRL',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
] as const

export interface ChainVerdict {
  error?: (typeof errors)[number]
  /** When the first list or certificate that it rests on ends, ms since the epoch. */
  until: number
  /** When the first certificate that it rests on ends, ms since the epoch. */
  certificatesEnd: number
}

/** Whether the second has signed the first. */
export type IsIssuedBy = (certificate: X509Certificate, issuer: X509Certificate) => boolean

/** A certificate that may have issued another one. */
interface Issuer {
  certificate: X509Certificate
  /** Whether it is of `clientCa`, or its key and name are: then there may be a list of it. */
  known: boolean
  revocation: RevocationLists | undefined
}

/** Longer ways are followed no further, nor are more of them in all: a client chooses what it sends. */
const longest = 8
const mostSteps = 100

/** Remembered signatures: a client that connects again costs none. */
const remembered = 10_000

/** Checks each signature once; the memory is bounded. */
export function createSignatureCheck(): IsIssuedBy {
  const signed = new LRUCache<string, boolean>({ max: remembered })
  return (certificate, issuer) => {
    if (!certificate.checkIssued(issuer)) return false
    const pair = `${certificate.fingerprint256} ${issuer.fingerprint256}`
    const known = signed.get(pair)
    if (known !== undefined) return known
    const isSigned = certificate.verify(issuer.publicKey)
    signed.set(pair, isSigned)
    return isSigned
  }
}

/**
 * Judges `chain`: a client's certificate, and what it has sent behind it, in any order. OpenSSL has
 * held it to purposes, constraints and key sizes during the handshake, be it with other authorities.
 * One good way to a root is enough (RFC 5280, section 6), as it is for OpenSSL.
 */
export function judgeChain(
  trust: ClientTrust,
  chain: readonly X509Certificate[],
  isIssuedBy: IsIssuedBy,
  now: number,
): ChainVerdict {
  const [leaf] = chain
  const issuers = issuersAmong(trust, chain)
  const roots = new Set(
    trust.authorities
      .filter(({ certificate }) => certificate.checkIssued(certificate))
      .map(({ certificate }) => certificate.fingerprint256),
  )
  let steps = 0

  function follow(certificate: X509Certificate, below: readonly X509Certificate[]): ChainVerdict {
    const ends = certificate.validToDate.getTime()
    if (now >= ends) return refused('CERT_HAS_EXPIRED')
    if (now < certificate.validFromDate.getTime()) return refused('CERT_NOT_YET_VALID')
    if (roots.has(certificate.fingerprint256)) return { until: ends, certificatesEnd: ends }
    const path = [...below, certificate]
    let best = refused('UNABLE_TO_GET_ISSUER_CERT_LOCALLY')
    for (const issuer of path.length < longest ? issuers : []) {
      if (path.includes(issuer.certificate) || steps >= mostSteps) continue
      if (!isIssuedBy(certificate, issuer.certificate)) continue
      steps += 1
      best = better(best, ending(climb(certificate, issuer, path), ends))
    }
    return best
  }

  function climb(
    certificate: X509Certificate,
    issuer: Issuer,
    path: readonly X509Certificate[],
  ): ChainVerdict {
    const { revocation } = issuer
    if (revocation?.serials.has(serialOf(certificate)) === true) return refused('CERT_REVOKED')
    const served = (revocation?.nextUpdate ?? Infinity) + trust.maxStale
    if (now >= served) return refused('CRL_HAS_EXPIRED')
    const above = follow(issuer.certificate, path)
    if (above.error !== undefined) return above
    // It could be revoked, and nobody would know.
    if (trust.checked && !issuer.known) return refused('UNABLE_TO_GET_CRL')
    return { ...above, until: Math.min(above.until, served) }
  }

  return leaf === undefined ? refused('UNABLE_TO_GET_ISSUER_CERT_LOCALLY') : follow(leaf, [])
}

/** The authorities of `clientCa`, and those that the client has sent. */
function issuersAmong(
  { authorities }: ClientTrust,
  [, ...sent]: readonly X509Certificate[],
): Issuer[] {
  const own = new Set(authorities.map(({ certificate }) => certificate.fingerprint256))
  return [
    ...authorities.map(({ certificate, revocation }) => ({ certificate, revocation, known: true })),
    ...sent
      .filter(({ ca, fingerprint256 }) => ca && !own.has(fingerprint256))
      .map((certificate) => {
        const twin = authorities.find((authority) => hasItsKey(certificate, authority))
        return { certificate, revocation: twin?.revocation, known: twin !== undefined }
      }),
  ]
}

/** As where an authority was renewed: what either of them has signed, both have. */
function hasItsKey(certificate: X509Certificate, authority: TrustedAuthority): boolean {
  return (
    certificate.subject === authority.certificate.subject &&
    certificate.publicKey.equals(authority.key)
  )
}

function refused(error: NonNullable<ChainVerdict['error']>): ChainVerdict {
  return { error, until: 0, certificatesEnd: 0 }
}

function ending(verdict: ChainVerdict, ends: number): ChainVerdict {
  const { until, certificatesEnd } = verdict
  return {
    ...verdict,
    until: Math.min(until, ends),
    certificatesEnd: Math.min(certificatesEnd, ends),
  }
}

function better(one: ChainVerdict, other: ChainVerdict): ChainVerdict {
  if (one.error === undefined) {
    return other.error === undefined && other.until > one.until ? other : one
  }
  if (other.error === undefined) return other
  return errors.indexOf(other.error) < errors.indexOf(one.error) ? other : one
}
