// Certificate revocation lists (RFC 5280, section 5): read, and held to the key that signed them.
import 'reflect-metadata'
import { verify, type KeyObject } from 'node:crypto'
import { Name } from '@peculiar/x509'
import {
  childrenOf,
  contentOf,
  elementAt,
  encodingOf,
  expect,
  hexOf,
  oidOf,
  tags,
  timeOf,
  type Element,
} from './der.ts'

export interface Crl {
  /** The issuer's name, DER. */
  issuer: Buffer
  /** Milliseconds since the epoch. */
  thisUpdate: number
  /** Milliseconds since the epoch; Infinity where the list does not say. */
  nextUpdate: number
  /** CRLNumber, by which lists of the same second are ordered; 0 where there is none. */
  number: bigint
  /** The serial numbers, as `hexOf` writes them. Made at each call: some 100 bytes per entry. */
  serials: () => Set<string>
  isSignedBy: (key: KeyObject) => boolean
}

/** What a signature is made with; null where the algorithm has its own hash. */
const hashes: Readonly<Record<string, string | null>> = {
  '1.2.840.10045.4.3.2': 'sha256',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  '1.2.840.113549.1.1.11': 'sha256',
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.3.101.112': null,
}

const begin = '-----BEGIN X509 CRL-----'
const crlNumber = '2.5.29.20'
const deltaIndicator = '2.5.29.27'
const authorityKeyIdentifier = '2.5.29.35'

/** Every list in a file, PEM or DER; throws an Error that says which one is broken. */
export function parseCrls(content: Buffer): Crl[] {
  const isDer = content[0] === tags.sequence && !content.includes(begin)
  const blocks = isDer ? [content] : pemBlocks(content.toString('latin1'))
  return blocks.map((der, index) => {
    try {
      return parseCrl(der)
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw new Error(`list ${index + 1} of ${blocks.length} ${reason}`, { cause })
    }
  })
}

/** Of several lists of one issuer, the one that is in force. */
export function isNewer(one: Crl, other: Crl): boolean {
  if (one.thisUpdate !== other.thisUpdate) return one.thisUpdate > other.thisUpdate
  return one.number > other.number
}

/** A DER name as text, for messages. */
export function nameOf(der: Buffer): string {
  return new Name(der).toString()
}

function pemBlocks(text: string): Buffer[] {
  const begun = text.split(begin).length - 1
  const blocks = text.matchAll(/-----BEGIN X509 CRL-----([^-]*)-----END X509 CRL-----/g)
  const found = [...blocks].map(([, base64 = '']) => Buffer.from(base64, 'base64'))
  if (begun === 0) throw new Error(`has no revocation list (${begin})`)
  if (found.length < begun) throw new Error('is damaged: a revocation list in it has no end')
  return found
}

/** `CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm, signatureValue }` */
function parseCrl(der: Buffer): Crl {
  const list = expect(elementAt(der, 0), tags.sequence)
  if (list.to < der.length) throw new Error('has something behind its end: write it in PEM')
  const [tbs, algorithm, signature] = childrenOf(der, list)
  const signed = expect(tbs, tags.sequence)
  const oid = algorithmOf(der, algorithm)
  // The first byte says how many bits are unused: none.
  const bits = contentOf(der, expect(signature, tags.bitString)).subarray(1)
  return {
    ...parseList(der, signed, oid),
    isSignedBy: (key) => isSigned(encodingOf(der, signed), oid, key, bits),
  }
}

/** `TBSCertList`: version, signature, issuer, dates, and then what is optional. */
function parseList(der: Buffer, signed: Element, oid: string): Omit<Crl, 'isSignedBy'> {
  const fields = childrenOf(der, signed)
  if (fields[0]?.tag === tags.integer) fields.shift()
  const [algorithm, issuer, thisUpdate, ...rest] = fields
  if (algorithmOf(der, algorithm) !== oid) throw new Error('names two signature algorithms')
  const nextUpdate = isTime(rest[0]) ? rest.shift() : undefined
  const entries = rest[0]?.tag === tags.sequence ? rest.shift() : undefined
  const [extensions] = rest
  if (!isTime(thisUpdate)) throw new Error('has no date')
  return {
    issuer: encodingOf(der, expect(issuer, tags.sequence)),
    thisUpdate: timeOf(der, thisUpdate),
    nextUpdate: nextUpdate === undefined ? Infinity : timeOf(der, nextUpdate),
    number: readExtensions(der, extensions),
    serials: () => (entries === undefined ? new Set() : readSerials(der, entries)),
  }
}

function isTime(element: Element | undefined): element is Element {
  return element?.tag === tags.utcTime || element?.tag === tags.generalizedTime
}

function algorithmOf(der: Buffer, algorithm: Element | undefined): string {
  const [oid] = childrenOf(der, expect(algorithm, tags.sequence))
  return oidOf(der, expect(oid, tags.objectIdentifier))
}

/**
 * The CRLNumber. A list with a critical extension that is not understood must not be used: it is
 * for a part of the certificates only, or says something else than it seems to.
 */
function readExtensions(der: Buffer, explicit: Element | undefined): bigint {
  const [all] = explicit === undefined ? [] : childrenOf(der, explicit)
  let number = 0n
  for (const extension of all === undefined ? [] : childrenOf(der, all)) {
    const { oid, critical, value } = extensionOf(der, extension)
    if (oid === deltaIndicator) throw new Error('is a delta list: use complete ones')
    if (critical && oid !== crlNumber && oid !== authorityKeyIdentifier) {
      throw new Error(
        `has the critical extension ${oid}, which is not supported: use complete ones`,
      )
    }
    if (oid === crlNumber) number = BigInt(`0x${hexOf(der, elementAt(der, value.from, value.to))}`)
  }
  return number
}

function extensionOf(der: Buffer, extension: Element) {
  const [oid, ...rest] = childrenOf(der, extension)
  const critical = rest[0]?.tag === tags.boolean && der[rest[0].from] !== 0
  const value = expect(rest.at(-1), tags.octetString)
  return { oid: oidOf(der, expect(oid, tags.objectIdentifier)), critical, value }
}

/** `SEQUENCE OF SEQUENCE { serial, revocationDate, extensions? }` */
function readSerials(der: Buffer, entries: Element): Set<string> {
  const serials = new Set<string>()
  for (let at = entries.from; at < entries.to;) {
    const entry = expect(elementAt(der, at, entries.to), tags.sequence)
    const serial = expect(elementAt(der, entry.from, entry.to), tags.integer)
    serials.add(hexOf(der, serial))
    at = entry.to
  }
  return serials
}

function isSigned(signed: Buffer, oid: string, key: KeyObject, signature: Buffer): boolean {
  const hash = hashes[oid]
  if (hash === undefined) {
    throw new Error(`is signed with ${oid}: use ECDSA or RSA with SHA-2, or Ed25519`)
  }
  try {
    return verify(hash, signed, key, signature)
  } catch {
    // The key is of another kind.
    return false
  }
}
