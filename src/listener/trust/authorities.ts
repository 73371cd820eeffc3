// Whose client certificates a listener takes: the authorities of `clientCa`, each with the
// revocation list that is in force for it.
import type { KeyObject, X509Certificate } from 'node:crypto'
import type { ListenerTlsConfig } from '../../config/schema.ts'
import { isNewer, nameOf, parseCrls, type Crl } from './crl-parser.ts'
import { childrenOf, elementAt, encodingOf, expect, hexOf, tags } from './der.ts'
import { certificatesIn, readBytes, type Tell } from '../../rules/pem-files.ts'

export interface Authority {
  file: string
  certificate: X509Certificate
  key: KeyObject
  /** Its list, if there is one. */
  revocation?: Revocation
}

/** One revocation list in force. */
export interface Revocation {
  file: string
  /** The issuer's name, RFC 4514. */
  issuer: string
  /** Milliseconds since the epoch; Infinity where the list does not say. */
  nextUpdate: number
  /** Serial numbers as `serialOf` writes them. */
  serials: ReadonlySet<string>
}

export interface ClientTrust {
  authorities: readonly Authority[]
  /** Whether there are revocation lists: then nobody is let in whose issuer is unknown. */
  checked: boolean
  /** How long a list serves after its `nextUpdate`, ms. */
  maxStale: number
}

/** A clock behind ours may have signed a list; more than this is a mistake. */
const clockSkew = 5 * 60_000

/**
 * Reads `clientCa` and `crl`. Problems are told by the key below the section; what is allowed and
 * should not be left so goes to `warn`.
 */
export function readTrust(
  tls: ListenerTlsConfig,
  tell: (key: string, message: string) => void,
  warn: Tell,
): { trust: ClientTrust; ca: string[] } {
  const ca = tls.clientCa.map((file, index) =>
    readAuthorities(file, (message) => tell(`clientCa.${index}`, message)),
  )
  const authorities = ca.flatMap(({ file, certificates }) =>
    certificates.map((certificate): Authority => {
      return { file, certificate, key: certificate.publicKey }
    }),
  )
  const lists = tls.crl.flatMap((file, index) =>
    readLists(file, authorities, (message) => tell(`crl.${index}`, message)),
  )
  putInForce(lists)
  const checked = tls.crl.length > 0
  if (checked) for (const text of doubts(authorities, tls.crlMaxStale)) warn(text)
  return {
    trust: { authorities, checked, maxStale: tls.crlMaxStale },
    ca: ca.map(({ pem }) => pem),
  }
}

/** The serial number of a certificate. */
export function serialOf({ raw }: X509Certificate): string {
  const [serial] = fieldsOf(raw)
  return hexOf(raw, expect(serial, tags.integer))
}

/** The subject, DER. RFC 5280 has it encoded alike wherever the authority is named. */
function subjectOf({ raw }: X509Certificate): Buffer {
  const [, , , , subject] = fieldsOf(raw)
  return encodingOf(raw, expect(subject, tags.sequence))
}

/** `TBSCertificate` from the serial number on: serial, signature, issuer, validity, subject, … */
function fieldsOf(raw: Buffer) {
  const [tbs] = childrenOf(raw, elementAt(raw, 0))
  const fields = childrenOf(raw, expect(tbs, tags.sequence))
  return fields[0]?.tag === tags.integer ? fields : fields.slice(1)
}

function readAuthorities(file: string, tell: Tell) {
  const pem = readBytes(file, tell)?.toString()
  const certificates = certificatesIn(pem, tell)
  const foreign = certificates.findIndex((certificate) => !certificate.ca)
  if (foreign >= 0) tell(`is no authority: certificate ${foreign + 1} of ${file} is not a CA's`)
  const now = Date.now()
  if (certificates.length > 0 && certificates.every((one) => one.validToDate.getTime() <= now)) {
    tell(`has expired: no authority in ${file} is valid any more`)
  }
  return { file, pem: pem ?? '', certificates }
}

interface SignedList {
  file: string
  crl: Crl
  signer: Authority
}

/** The lists in a file, with the authorities that each is for. */
function readLists(file: string, authorities: readonly Authority[], tell: Tell): SignedList[] {
  const content = readBytes(file, tell)
  if (content === undefined) return []
  try {
    return parseCrls(content).flatMap((crl) =>
      signersOf(crl, authorities).map((signer) => ({ file, crl, signer })),
    )
  } catch (error) {
    tell(`cannot use ${file}: ${error instanceof Error ? error.message : String(error)}`)
    return []
  }
}

function signersOf(crl: Crl, authorities: readonly Authority[]): Authority[] {
  const issuer = nameOf(crl.issuer)
  if (crl.thisUpdate > Date.now() + clockSkew) {
    throw new Error(`the list of ${issuer} is not valid yet: check both clocks`)
  }
  const named = authorities.filter(({ certificate }) => subjectOf(certificate).equals(crl.issuer))
  if (named.length === 0) {
    throw new Error(`the list of ${issuer} needs the certificate of that authority in clientCa`)
  }
  const signers = named.filter(({ key }) => crl.isSignedBy(key))
  if (signers.length === 0) {
    throw new Error(`the list of ${issuer} is not signed by the authority of that name in clientCa`)
  }
  return signers
}

/** Gives each authority the newest of its lists. */
function putInForce(lists: readonly SignedList[]): void {
  const newest = new Map<Authority, SignedList>()
  for (const list of lists) {
    const known = newest.get(list.signer)
    if (known === undefined || isNewer(list.crl, known.crl)) newest.set(list.signer, list)
  }
  const made = new Map<Crl, Revocation>()
  for (const [authority, { file, crl }] of newest) {
    const { nextUpdate } = crl
    const revocation = made.get(crl) ?? {
      file,
      issuer: nameOf(crl.issuer),
      nextUpdate,
      serials: crl.serials(),
    }
    made.set(crl, revocation)
    authority.revocation = revocation
  }
}

function doubts(authorities: readonly Authority[], maxStale: number): string[] {
  return authorities.flatMap(({ certificate, revocation }) => {
    const name = certificate.subject.replaceAll('\n', ',')
    if (revocation === undefined) return [`crl: no revocation list is for ${name}`]
    const { nextUpdate, file } = revocation
    if (nextUpdate === Infinity) return [`crl: ${file} does not say when the next one is due`]
    if (Date.now() < nextUpdate) return []
    const since = new Date(nextUpdate).toISOString()
    const stillServes = Date.now() < nextUpdate + maxStale
    const consequence = stillServes ? 'still serves by crlMaxStale' : `refuses everybody of ${name}`
    return [`crl: ${file} is outdated since ${since} and ${consequence}`]
  })
}
