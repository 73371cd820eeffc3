// A certificate authority in memory, and the certificates that it issues.
import { randomBytes } from 'node:crypto'
import 'reflect-metadata'
import {
  Name,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
  type PublicKey,
  type PublicKeyType,
} from '@peculiar/x509'
import { UsageError, type Problem } from '../errors.ts'
import { generateKey, privateKeyPem, type KeyAlgorithm, type SigningKey } from './key.ts'
import { alternativeNameProblems, commonNameProblem } from './name-rules.ts'
import { extensionsFor, type AlternativeNames, type Profile } from './profile.ts'

export interface Authority {
  /** Its own certificate. */
  certificatePem: string
  /** Its private key, PKCS#8, not encrypted. */
  keyPem: string
  /** The key identifier in its certificate, hex. */
  keyId: string
  /** What follows a leaf of this authority in a chain: nothing for a root, itself otherwise. */
  chainPem: string
  certificate: X509Certificate
  key: SigningKey
}

/** Issued from 5 minutes ago on, for peers whose clock is behind, unless `notBefore` says else. */
export interface Validity {
  /** From now on; at most until the issuer ends. */
  days?: number
  notBefore?: Date
  /** Wins over `days`, and may be anything: also past, or after the issuer's own end. */
  notAfter?: Date
}

export interface AuthorityOptions extends Validity {
  commonName: string
  /** P-256 when absent. */
  algorithm?: KeyAlgorithm
  /** The root that signs it, for an authority that issues leaves only. Self-signed when absent. */
  parent?: Authority
}

export interface IssueOptions extends Validity, AlternativeNames {
  profile: 'server' | 'client'
  commonName: string
  /** P-256 when absent. */
  algorithm?: KeyAlgorithm
}

export interface Issued {
  /** The leaf first, then the authorities up to the root, which is left out. */
  certificatePem: string
  /** PKCS#8, not encrypted. */
  keyPem: string
}

const day = 86_400_000
const clockSkew = 5 * 60_000
const defaultDays: Record<Profile, number> = { root: 3650, issuing: 1825, server: 365, client: 365 }

/** Makes a key and its CA certificate. Throws UsageError for a bad name or number of days. */
export async function createAuthority(options: AuthorityOptions): Promise<Authority> {
  const key = await generateKey(options.algorithm ?? 'P-256')
  return certifyAuthority(key, { ...options, subject: subjectOf(options.commonName) })
}

/** The CA certificate of a key that is there already. */
export async function certifyAuthority(
  key: SigningKey,
  options: Omit<AuthorityOptions, 'algorithm' | 'commonName'> & { subject: Name },
): Promise<Authority> {
  const { subject, parent } = options
  const profile = parent === undefined ? 'root' : 'issuing'
  const certificate = await sign(
    {
      subject: parent?.certificate.subjectName ?? subject,
      key: parent?.key ?? key,
      keyId: parent?.keyId,
    },
    { profile, subject, publicKey: key.publicKey, ...validity(options, profile, parent) },
  )
  return authorityOf(certificate, key, parent !== undefined)
}

/** An authority from its parts; `issuing` where another one signed it. */
export async function authorityOf(
  certificate: X509Certificate,
  key: SigningKey,
  issuing: boolean,
): Promise<Authority> {
  const certificatePem = pemOf(certificate)
  const chainPem = issuing ? certificatePem : ''
  const keyId = await keyIdOf(certificate)
  return { certificatePem, keyPem: privateKeyPem(key), chainPem, certificate, key, keyId }
}

/** The key identifier in a certificate, or the one that would be there (RFC 5280, 4.2.1.2), hex. */
export async function keyIdOf(certificate: X509Certificate): Promise<string> {
  const present = certificate.getExtension(SubjectKeyIdentifierExtension)
  return (present ?? (await SubjectKeyIdentifierExtension.create(certificate.publicKey))).keyId
}

/** Makes a key and its certificate. Throws UsageError for bad names or days. */
export async function issueCertificate(
  authority: Authority,
  options: IssueOptions,
): Promise<Issued> {
  checkNames(options)
  const key = await generateKey(options.algorithm ?? 'P-256')
  const certificate = await certify(authority, {
    ...options,
    subject: subjectOf(options.commonName),
    publicKey: key.publicKey,
  })
  const certificatePem = pemOf(certificate) + authority.chainPem
  return { certificatePem, keyPem: privateKeyPem(key) }
}

/** Certifies a key whose private half may be elsewhere. Throws UsageError for bad names or days. */
export async function certify(
  authority: Authority,
  options: Omit<IssueOptions, 'commonName' | 'algorithm'> & {
    subject: Name
    publicKey: PublicKey | SigningKey['publicKey']
  },
): Promise<X509Certificate> {
  checkNames(options)
  return sign(
    { ...authority, subject: authority.certificate.subjectName },
    { ...options, names: options, ...validity(options, options.profile, authority) },
  )
}

/** PEM with the line end that files need. */
export function pemOf(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`
}

/** The subject `CN=<commonName>`. Throws UsageError where that cannot be one. */
export function subjectOf(commonName: string): Name {
  const problem = commonNameProblem(commonName)
  if (problem !== undefined) throw new UsageError([{ path: 'commonName', message: problem }])
  return new Name([{ CN: [{ utf8String: commonName }] }])
}

async function sign(
  issuer: { subject: Name; key: SigningKey; keyId: string | undefined },
  leaf: {
    profile: Profile
    subject: Name
    publicKey: PublicKeyType
    names?: AlternativeNames
    notBefore: Date
    notAfter: Date
  },
): Promise<X509Certificate> {
  const { profile, subject, publicKey, names = {}, notBefore, notAfter } = leaf
  return X509CertificateGenerator.create({
    serialNumber: randomBytes(16).toString('hex'),
    subject,
    issuer: issuer.subject,
    notBefore,
    notAfter,
    publicKey,
    signingKey: issuer.key.privateKey,
    signingAlgorithm: issuer.key.signing,
    extensions: await extensionsFor(profile, names, {
      subjectKey: publicKey,
      issuerKeyId: issuer.keyId,
    }),
  })
}

/** A default number of days yields to the issuer's end; one that was asked for is refused. */
function validity(options: Validity, profile: Profile, issuer: Authority | undefined) {
  const { days } = options
  const now = Date.now()
  const notBefore = options.notBefore ?? new Date(now - clockSkew)
  if (options.notAfter !== undefined) return { notBefore, notAfter: options.notAfter }
  if (days !== undefined && !(Number.isInteger(days) && days >= 1 && days <= 36_500)) {
    throw daysError('must be a whole number of days from 1 to 36500')
  }
  const end = now + (days ?? defaultDays[profile]) * day
  const issuerEnd = issuer?.certificate.notAfter.getTime() ?? Infinity
  if (days !== undefined && end > issuerEnd) {
    const last = new Date(issuerEnd).toISOString().slice(0, 10)
    throw daysError(`${days} is after the end of the issuer on ${last}: ask for less or renew it`)
  }
  return { notBefore, notAfter: new Date(Math.min(end, issuerEnd)) }
}

function checkNames(names: AlternativeNames): void {
  const problems: Problem[] = alternativeNameProblems(names)
  if (problems.length > 0) throw new UsageError(problems)
}

function daysError(message: string): UsageError {
  return new UsageError([{ path: 'days', message }])
}
