// Reads the authorities that a setting names, and says where nobody could be trusted by them.
import type { X509Certificate } from 'node:crypto'
import { certificatesIn, pemOfAll, readBytes } from './pem-files.ts'

export interface AuthorityInFile {
  file: string
  certificate: X509Certificate
}

export interface AuthorityFiles {
  authorities: AuthorityInFile[]
  /** What OpenSSL takes as `ca`: one PEM text a file, with every certificate that was understood. */
  pem: string[]
}

/** Reads PEM files of authorities. What is wrong with one is told by its place among `files`. */
export function readAuthorities(
  files: readonly string[],
  tell: (index: number, message: string) => void,
): AuthorityFiles {
  const read = files.map((file, index) => {
    const pem = readBytes(file, (message) => tell(index, message))?.toString()
    const certificates = certificatesIn(pem, (message) => tell(index, message))
    return { file, certificates }
  })
  return {
    authorities: read.flatMap(({ file, certificates }) =>
      certificates.map((certificate) => ({ file, certificate })),
    ),
    pem: read.map(({ certificates }) => pemOfAll(certificates)),
  }
}

/** Why some of the authorities, or all of them, lead nowhere. */
export interface AuthorityDoubt {
  /** `expired` and `rootless` where none is of any use now, `partial` where others are. */
  kind: 'expired' | 'rootless' | 'partial'
  message: string
}

/**
 * What is wrong with authorities taken together: OpenSSL follows a chain to one that has signed
 * itself, and wants all of them valid.
 */
export function authorityDoubts(
  authorities: readonly AuthorityInFile[],
  now = Date.now(),
): AuthorityDoubt[] {
  const all = authorities.map(({ certificate }) => certificate)
  const valid = all.filter((certificate) => certificate.validToDate.getTime() > now)
  if (all.length === 0) return []
  if (valid.length === 0) {
    return [{ kind: 'expired', message: 'has expired: no authority in it is valid any more' }]
  }
  const anchored = valid.filter((certificate) => isAnchored(certificate, valid))
  const lost = valid.filter((certificate) => !anchored.includes(certificate))
  return lost.map((certificate) => {
    const kind = anchored.length > 0 ? 'partial' : 'rootless'
    const { missing, hasExpired } = whatIsMissing(certificate, all)
    const why = hasExpired ? 'has expired' : 'is missing'
    const message = `is no use for ${nameOf(certificate.subject)}: ${missing}, which has issued it, ${why}: add its certificate`
    return { kind, message }
  })
}

function isAnchored(certificate: X509Certificate, among: readonly X509Certificate[]): boolean {
  const reached = [certificate]
  // `reached` grows while it is walked.
  for (const one of reached) {
    if (isRoot(one)) return true
    reached.push(...issuersOf(one, among).filter((issuer) => !reached.includes(issuer)))
  }
  return false
}

/** The first authority above `certificate` that is not there, or not valid any more. */
function whatIsMissing(certificate: X509Certificate, all: readonly X509Certificate[]) {
  const reached = [certificate]
  let top = certificate
  for (const one of reached) {
    top = one
    reached.push(...issuersOf(one, all).filter((issuer) => !reached.includes(issuer)))
  }
  const missing = nameOf(isRoot(top) ? top.subject : top.issuer)
  return { missing, hasExpired: isRoot(top) }
}

function issuersOf(certificate: X509Certificate, among: readonly X509Certificate[]) {
  return among.filter((one) => certificate.checkIssued(one) && certificate.verify(one.publicKey))
}

function isRoot(certificate: X509Certificate): boolean {
  const { subject, issuer, publicKey } = certificate
  return subject === issuer && certificate.verify(publicKey)
}

function nameOf(subject: string): string {
  return subject.replaceAll('\n', ',')
}
