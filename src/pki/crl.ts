// Certificate revocation lists (RFC 5280, section 5), with the two extensions that every CRL needs.
import 'reflect-metadata'
import {
  AuthorityKeyIdentifierExtension,
  Extension,
  PemConverter,
  X509Crl,
  X509CrlGenerator,
  X509CrlReason,
  type X509CrlEntryParams,
} from '@peculiar/x509'
import type { Authority } from './authority.ts'
import type { LedgerRecord, Revocation } from './state/ledger.ts'

/** RFC 7468, section 6; the library writes `CRL`, which OpenSSL does not read. */
const label = 'X509 CRL'
const crlNumber = '2.5.29.20'
const day = 86_400_000

export interface SignedCrl {
  pem: string
  /** Whose list it is: the key identifier of the authority, hex. */
  issuerKeyId: string | undefined
  number: number
  /** When the list must have been replaced by the next one. */
  nextUpdate: Date
}

export interface CrlOptions {
  /** Until the next update. */
  days: number
  /** The lists so far: the number of the authority's next one is higher. */
  previous: readonly SignedCrl[]
}

/** The PEM of the authority's CRL of those of `records` that it issued and that are revoked. */
export async function signCrl(
  authority: Authority,
  records: readonly LedgerRecord[],
  { days, previous }: CrlOptions,
): Promise<string> {
  const now = Date.now()
  const entries = records.flatMap(({ revoked, issuer, serial }) =>
    revoked === undefined || issuer !== authority.keyId ? [] : [entryOf(serial, revoked)],
  )
  const own = previous.filter(({ issuerKeyId }) => issuerKeyId === authority.keyId)
  const before = Math.max(0, ...own.map(({ number }) => number))
  const crl = await X509CrlGenerator.create({
    issuer: authority.certificate.subjectName,
    thisUpdate: new Date(now),
    nextUpdate: new Date(now + days * day),
    entries,
    extensions: [
      new AuthorityKeyIdentifierExtension(authority.keyId),
      // By the clock where the list before is lost, so that no number comes twice.
      new Extension(crlNumber, false, derInteger(Math.max(before + 1, Math.floor(now / 1000)))),
    ],
    signingKey: authority.key.privateKey,
    signingAlgorithm: authority.key.signing,
  })
  return `${PemConverter.encode(crl.rawData, label)}\n`
}

/**
 * A reason that says nothing is left out (RFC 5280, 5.3.1). The library would then write an empty
 * list of extensions, which is not valid: the date since when takes its place.
 */
function entryOf(serialNumber: string, { at, reason }: Revocation): X509CrlEntryParams {
  const seconds = Math.floor(Date.parse(at) / 1000)
  const revocationDate = new Date(seconds * 1000)
  const extension =
    reason === 'unspecified' ? { invalidity: revocationDate } : { reason: X509CrlReason[reason] }
  return { serialNumber, revocationDate, ...extension }
}

/** The lists in a PEM text, which may hold several. */
export function splitCrls(text: string): SignedCrl[] {
  const blocks = text.match(/-----BEGIN X509 CRL-----[^-]+-----END X509 CRL-----/g) ?? []
  return blocks.map((block) => {
    const crl = new X509Crl(block)
    return {
      pem: `${block}\n`,
      issuerKeyId: crl.getExtension(AuthorityKeyIdentifierExtension)?.keyId,
      number: numberIn(crl),
      nextUpdate: crl.nextUpdate ?? new Date(8_640_000_000_000_000),
    }
  })
}

/** When the first of the lists in a PEM text must have been replaced; undefined without any. */
export function firstEnd(text: string): Date | undefined {
  const [first] = splitCrls(text)
    .map(({ nextUpdate }) => nextUpdate)
    .sort((a, b) => a.getTime() - b.getTime())
  return first
}

function numberIn(crl: X509Crl): number {
  const value = crl.extensions.find(({ type }) => type === crlNumber)?.value
  if (value === undefined) return 0
  const [, , ...digits] = Buffer.from(value)
  return digits.reduce((number, digit) => number * 256 + digit, 0)
}

/** DER of a positive INTEGER. */
function derInteger(value: number): Buffer {
  const hex = value.toString(16)
  const even = hex.padStart(hex.length + (hex.length % 2), '0')
  const digits = Buffer.from(/^[89a-f]/.test(even) ? `00${even}` : even, 'hex')
  return Buffer.concat([Buffer.from([0x02, digits.length]), digits])
}
