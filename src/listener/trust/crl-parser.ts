// Certificate revocation lists (RFC 5280, section 5): read, and held to the key that signed them.
import type { KeyObject } from 'node:crypto'
import { x509 } from '../../rules/rare/packages.ts'
import { coverageOf, everything, type Coverage } from './crl-coverage.ts'
import { signatureCheck } from './crl-signature.ts'
import {
  childrenOf,
  contentOf,
  elementAt,
  encodingOf,
  expect,
  integerHex,
  oidOf,
  tags,
  timeOf,
  type Element,
} from './der.ts'
import { serialSteps, type SerialSet } from './serial-set.ts'
import { atOnce, type Steps } from './steps.ts'

export interface Crl {
  /** The issuer's name, DER. */
  issuer: Buffer
  /** Milliseconds since the epoch. */
  thisUpdate: number
  /** Milliseconds since the epoch; Infinity where the list does not say. */
  nextUpdate: number
  /** CRLNumber, by which lists of the same second are ordered; 0 where there is none. */
  number: bigint
  /** Which certificates of its issuer it is for. */
  coverage: Coverage
  /** Who is revoked; throws an Error where that cannot be understood. Long, unless it was read before. */
  serials: () => SerialSet
  /** Reads the same in steps. */
  serialSteps: () => Steps<SerialSet>
  isSignedBy: (key: KeyObject) => boolean
}

const begin = '-----BEGIN X509 CRL-----'
const end = '-----END X509 CRL-----'
const crlNumber = '2.5.29.20'
const deltaIndicator = '2.5.29.27'
const issuingDistributionPoint = '2.5.29.28'
const authorityKeyIdentifier = '2.5.29.35'

/** Of PEM text, what is decoded in one step. */
const decoded = 512 * 1024

/** Every list in a file, PEM or DER; throws an Error that says which one is broken. */
export function parseCrls(content: Buffer): Crl[] {
  return atOnce(parseSteps(content))
}

/** The same in steps. */
export function* parseSteps(content: Buffer): Steps<Crl[]> {
  const isDer = content[0] === tags.sequence && !content.includes(begin)
  const blocks = isDer ? [content] : yield* pemBlocks(content)
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
export function nameText(der: Buffer): string {
  const { Name } = x509()
  return new Name(der).toString()
}

/** By positions: as one text, a long list would stop everything else. */
function* pemBlocks(content: Buffer): Steps<Buffer[]> {
  const blocks: Buffer[] = []
  for (let at = content.indexOf(begin); at >= 0; at = content.indexOf(begin, at)) {
    const from = at + begin.length
    const to = content.indexOf(end, from)
    const next = content.indexOf(begin, from)
    if (to < 0 || (next >= 0 && next < to)) {
      throw new Error('is damaged: a revocation list in it has no end')
    }
    blocks.push(yield* decodeBase64(content.subarray(from, to)))
    at = to
  }
  if (blocks.length === 0) throw new Error(`has no revocation list (${begin})`)
  return blocks
}

function* decodeBase64(text: Buffer): Steps<Buffer> {
  const parts: Buffer[] = []
  let rest = ''
  for (let at = 0; at < text.length; at += decoded) {
    const some = rest + text.toString('latin1', at, at + decoded).replaceAll(/\s+/g, '')
    const whole = some.length - (some.length % 4)
    parts.push(Buffer.from(some.slice(0, whole), 'base64'))
    rest = some.slice(whole)
    yield
  }
  return Buffer.concat([...parts, Buffer.from(rest, 'base64')])
}

/** `CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm, signatureValue }` */
function parseCrl(der: Buffer): Crl {
  const list = expect(elementAt(der, 0), tags.sequence)
  // A line break is what editors and `echo` leave.
  if (/[^\r\n\t ]/.test(der.toString('latin1', list.to))) {
    throw new Error('has something behind its end: write it in PEM')
  }
  const [tbs, algorithm, signature] = childrenOf(der, list)
  const signed = expect(tbs, tags.sequence)
  const named = expect(algorithm, tags.sequence)
  const value = contentOf(der, expect(signature, tags.bitString))
  if (value[0] !== 0) throw new Error('has a signature that is no whole number of bytes')
  const bits = value.subarray(1)
  return {
    ...parseList(der, signed, encodingOf(der, named)),
    isSignedBy: signatureCheck(der, named, { signed: encodingOf(der, signed), signature: bits }),
  }
}

/** `TBSCertList`: version, signature, issuer, dates, and then what is optional. */
function parseList(der: Buffer, signed: Element, outer: Buffer): Omit<Crl, 'isSignedBy'> {
  const fields = childrenOf(der, signed)
  if (fields[0]?.tag === tags.integer) fields.shift()
  const [algorithm, issuer, thisUpdate, ...rest] = fields
  // Only this one is signed: the one outside is anybody's.
  if (!encodingOf(der, expect(algorithm, tags.sequence)).equals(outer)) {
    throw new Error('names two signature algorithms')
  }
  const nextUpdate = isTime(rest[0]) ? rest.shift() : undefined
  const entries = rest[0]?.tag === tags.sequence ? rest.shift() : undefined
  const [extensions] = rest
  if (!isTime(thisUpdate)) throw new Error('has no date')
  return {
    issuer: encodingOf(der, expect(issuer, tags.sequence)),
    thisUpdate: timeOf(der, thisUpdate),
    nextUpdate: nextUpdate === undefined ? Infinity : timeOf(der, nextUpdate),
    ...readExtensions(der, extensions),
    ...serialsOf(der, entries),
  }
}

function serialsOf(
  der: Buffer,
  entries: Element | undefined,
): Pick<Crl, 'serials' | 'serialSteps'> {
  let known: SerialSet | undefined
  function* steps(): Steps<SerialSet> {
    known ??= entries === undefined ? { has: () => false } : yield* serialSteps(der, entries)
    return known
  }
  return { serials: () => atOnce(steps()), serialSteps: steps }
}

function isTime(element: Element | undefined): element is Element {
  return element?.tag === tags.utcTime || element?.tag === tags.generalizedTime
}

/**
 * CRLNumber and coverage. A list with a critical extension that is not understood must not be used:
 * it says something else than it seems to.
 */
function readExtensions(
  der: Buffer,
  explicit: Element | undefined,
): Pick<Crl, 'number' | 'coverage'> {
  const [all] = explicit === undefined ? [] : childrenOf(der, explicit)
  const read = { number: 0n, coverage: everything }
  for (const extension of all === undefined ? [] : childrenOf(der, all)) {
    const { oid, critical, value } = extensionOf(der, extension)
    const content = () => elementAt(der, value.from, value.to)
    if (oid === deltaIndicator) throw new Error('is a delta list: use complete ones')
    if (oid === crlNumber) read.number = BigInt(`0x${integerHex(der, content())}`)
    else if (oid === issuingDistributionPoint) read.coverage = coverageOf(der, content())
    else if (critical && oid !== authorityKeyIdentifier) {
      throw new Error(
        `has the critical extension ${oid}, which is not supported: use complete ones`,
      )
    }
  }
  return read
}

function extensionOf(der: Buffer, extension: Element) {
  const [oid, ...rest] = childrenOf(der, extension)
  const critical = rest[0]?.tag === tags.boolean && der[rest[0].from] !== 0
  const value = expect(rest.at(-1), tags.octetString)
  return { oid: oidOf(der, expect(oid, tags.objectIdentifier)), critical, value }
}
