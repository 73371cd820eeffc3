// Whose client certificates a listener takes: the authorities of `clientCa`, each with the
// revocation list that is in force for it.
import type { KeyObject, X509Certificate } from 'node:crypto'
import type { ListenerTlsConfig } from '../../config/schema.ts'
import type { Coverage } from './crl-coverage.ts'
import type { KnownLists } from './crl-files.ts'
import { isNewer, nameText, parseCrls, type Crl } from './crl-parser.ts'
import { childrenOf, elementAt, encodingOf, expect, integerHex, tags } from './der.ts'
import { nameKey } from './issuer-name.ts'
import type { SerialSet } from './serial-set.ts'
import { hasWeakKey } from './weakness.ts'
import { authorityDoubts, readAuthorities } from '../../rules/authority-files.ts'
import { readBytes, type Tell } from '../../rules/pem-files.ts'

export interface TrustedAuthority {
  file: string
  certificate: X509Certificate
  key: KeyObject
  /** Its lists, if there are any. */
  revocation?: RevocationLists
}

/** What the lists of an authority say together. */
export interface RevocationLists {
  /** Milliseconds since the epoch, of the first that ends; Infinity where none of them says. */
  nextUpdate: number
  /** Serial numbers as `serialOf` writes them. */
  serials: SerialSet
  lists: readonly RevocationList[]
}

/** One revocation list in force. */
export interface RevocationList {
  file: string
  /** The issuer's name, RFC 4514. */
  issuer: string
  /** Of the list itself: which of two is the newer one. */
  thisUpdate: number
  number: bigint
  /** Milliseconds since the epoch; Infinity where the list does not say. */
  nextUpdate: number
  coverage: Coverage
  serials: SerialSet
}

export interface ClientTrust {
  authorities: readonly TrustedAuthority[]
  /** Whether there are revocation lists: then nobody is let in whose issuer is unknown. */
  checked: boolean
  /** How long a list serves after its `nextUpdate`, ms. */
  maxStale: number
}

/** A clock behind ours may have signed a list; more than this is a mistake. */
const clockSkew = 5 * 60_000

/**
 * Reads `clientCa` and `crl`. Problems are told by the key below the section; what is allowed and
 * should not be left so goes to `warn`. Lists that are not `known` are read at once.
 */
export function readTrust(
  tls: ListenerTlsConfig,
  tell: (key: string, message: string) => void,
  warn: Tell,
  known: KnownLists = () => undefined,
): { trust: ClientTrust; ca: string[] } {
  const ca = readAuthorities(tls.clientCa, (index, message) => tell(`clientCa.${index}`, message))
  const authorities = ca.authorities.map(({ file, certificate }): TrustedAuthority => {
    return { file, certificate, key: certificate.publicKey }
  })
  const foreign = ca.authorities.find(({ certificate }) => !certificate.ca)
  if (foreign !== undefined) {
    const name = subjectText(foreign.certificate)
    tell(
      `clientCa.${tls.clientCa.indexOf(foreign.file)}`,
      `is no authority: ${name} in ${foreign.file} is not a CA's`,
    )
  } else {
    for (const { kind, message } of authorityDoubts(ca.authorities)) {
      if (kind === 'partial') warn(`clientCa: ${message}`)
      else tell('clientCa.0', message)
    }
  }
  for (const text of sameNames(authorities)) warn(`clientCa: ${text}`)
  for (const { file, certificate } of authorities.filter((one) => hasWeakKey(one.certificate))) {
    const name = subjectText(certificate)
    warn(`clientCa: the key of ${name} in ${file} is too weak: OpenSSL refuses all of its clients`)
  }
  const lists = tls.crl.flatMap((file, index) =>
    readLists(file, authorities, known, (message) => tell(`crl.${index}`, message)),
  )
  putInForce(lists)
  const checked = tls.crl.length > 0
  if (checked) for (const text of doubts(authorities, tls.crlMaxStale)) warn(text)
  return {
    trust: { authorities, checked, maxStale: tls.crlMaxStale },
    ca: ca.pem,
  }
}

/** `subjectKeyIdentifier`, DER. */
const keyIdentifier = Buffer.from('0603551d0e', 'hex')

/**
 * Authorities that nothing but a signature tells apart. OpenSSL tries one key for a name and looks no
 * further, in the handshake, before anybody else can judge.
 */
function sameNames(authorities: readonly TrustedAuthority[]): string[] {
  const firsts = new Map<string, TrustedAuthority>()
  const unmarked = authorities.filter(({ certificate }) => !certificate.raw.includes(keyIdentifier))
  return unmarked.flatMap((one) => {
    const name = nameKey(subjectOf(one.certificate))
    const first = firsts.get(name) ?? one
    firsts.set(name, first)
    if (first.key.equals(one.key)) return []
    const files = `${first.file} and ${one.file}`
    return [
      `${subjectText(one.certificate)} has two keys, in ${files}, and no key identifiers: OpenSSL takes the clients of the first alone; give the next authority another name`,
    ]
  })
}

/** The serial number of a certificate. */
export function serialOf({ raw }: X509Certificate): string {
  const [serial] = fieldsOf(raw)
  return integerHex(raw, expect(serial, tags.integer))
}

function subjectText({ subject }: X509Certificate): string {
  return subject.replaceAll('\n', ',')
}

/** The subject, DER. */
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

interface SignedList {
  crl: Crl
  list: RevocationList
  signer: TrustedAuthority
}

/** The lists in a file, with the authorities that each is for. */
function readLists(
  file: string,
  authorities: readonly TrustedAuthority[],
  known: KnownLists,
  tell: Tell,
): SignedList[] {
  try {
    const lists = known(file) ?? readAtOnce(file, tell)
    return lists.flatMap((crl) => {
      const signers = signersOf(crl, authorities)
      const { nextUpdate, coverage } = crl
      const list = {
        file,
        issuer: nameText(crl.issuer),
        thisUpdate: crl.thisUpdate,
        number: crl.number,
        nextUpdate,
        coverage,
        serials: crl.serials(),
      }
      return signers.map((signer) => ({ crl, list, signer }))
    })
  } catch (error) {
    tell(`cannot use ${file}: ${error instanceof Error ? error.message : String(error)}`)
    return []
  }
}

function readAtOnce(file: string, tell: Tell): Crl[] {
  const content = readBytes(file, tell)
  return content === undefined ? [] : parseCrls(content)
}

function signersOf(crl: Crl, authorities: readonly TrustedAuthority[]): TrustedAuthority[] {
  const issuer = nameText(crl.issuer)
  if (crl.thisUpdate > Date.now() + clockSkew) {
    throw new Error(`the list of ${issuer} is not valid yet: check both clocks`)
  }
  const key = nameKey(crl.issuer)
  const named = authorities.filter(({ certificate }) => nameKey(subjectOf(certificate)) === key)
  if (named.length === 0) {
    throw new Error(`the list of ${issuer} needs the certificate of that authority in clientCa`)
  }
  const signers = named.filter(({ key }) => crl.isSignedBy(key))
  if (signers.length === 0) {
    throw new Error(`the list of ${issuer} is not signed by the authority of that name in clientCa`)
  }
  return signers
}

/** Gives each authority the newest of its lists: of each part, where they are published in parts. */
function putInForce(lists: readonly SignedList[]): void {
  const newest = new Map<TrustedAuthority, Map<string, SignedList>>()
  for (const signed of lists) {
    const parts = newest.get(signed.signer) ?? new Map<string, SignedList>()
    newest.set(signed.signer, parts)
    const { certificates, point } = signed.crl.coverage
    const known = parts.get(`${certificates} ${point}`)
    if (known === undefined || isNewer(signed.crl, known.crl)) {
      parts.set(`${certificates} ${point}`, signed)
    }
  }
  for (const [authority, parts] of newest) {
    authority.revocation = together([...parts.values()].map(({ list }) => list))
  }
}

function together(lists: readonly RevocationList[]): RevocationLists {
  return {
    lists,
    nextUpdate: Math.min(...lists.map(({ nextUpdate }) => nextUpdate)),
    serials: { has: (serial) => lists.some(({ serials }) => serials.has(serial)) },
  }
}

function doubts(authorities: readonly TrustedAuthority[], maxStale: number): string[] {
  return authorities.flatMap(({ certificate, revocation }) => {
    const name = subjectText(certificate)
    if (revocation === undefined) return [`crl: no revocation list is for ${name}`]
    const { lists } = revocation
    const partial = lists.every(({ coverage }) => coverage.certificates === 'authorities')
    return [
      ...(partial ? [`crl: no revocation list is for the clients of ${name}`] : []),
      ...lists.flatMap((list) => dateDoubts(list, name, maxStale)),
    ]
  })
}

function dateDoubts({ nextUpdate, file }: RevocationList, name: string, maxStale: number) {
  if (nextUpdate === Infinity) return [`crl: ${file} does not say when the next one is due`]
  if (Date.now() < nextUpdate) return []
  const since = new Date(nextUpdate).toISOString()
  const stillServes = Date.now() < nextUpdate + maxStale
  const consequence = stillServes ? 'still serves by crlMaxStale' : `refuses everybody of ${name}`
  return [`crl: ${file} is outdated since ${since} and ${consequence}`]
}
