// Looks serial numbers up in a revocation list as it lies in memory: some bytes for each of hundreds
// of thousands, and no string.
import { elementAt, expect, integerHex, tags, type Element } from './der.ts'
import type { Steps } from './steps.ts'

/** Of `hexOf` or `serialOf`: lower-case hex without leading zero bytes. */
export interface SerialSet {
  has: (serial: string) => boolean
}

const certificateIssuer = 0x1d
/** Extensions of an entry that change nothing of what it says: reason, instruction, date. */
const harmless: ReadonlySet<number> = new Set([0x15, 0x17, 0x18])

/** Entries that are looked at in one step: some milliseconds. */
const batch = 5000

/**
 * Reads the serial numbers of `revokedCertificates ::= SEQUENCE OF SEQUENCE { serial, date, extensions? }`.
 * Throws an Error where it is damaged, or says of an entry what is not understood.
 */
export function* serialSteps(der: Buffer, entries: Element): Steps<SerialSet> {
  const starts: number[] = []
  let known: Buffer = Buffer.alloc(0)
  for (let at = entries.from; at < entries.to;) {
    const from = contentAt(der, at, tags.sequence, entries.to)
    const to = endAt(der, at, from, entries.to)
    const date = endAt(der, from, contentAt(der, from, tags.integer, to), to)
    const extensions = endAt(der, date, contentAt(der, date, der[date] ?? 0, to), to)
    // One reason is written alike in every entry.
    if (extensions < to && known.compare(der, extensions, to) !== 0) {
      checkExtensions(der, elementAt(der, extensions, to))
      known = der.subarray(extensions, to)
    }
    starts.push(from)
    at = to
    if (starts.length % batch === 0) yield
  }
  return yield* tableOf(der, starts)
}

/** Where the content of the element at `at` begins, as `elementAt` says it, without an object. */
function contentAt(der: Buffer, at: number, tag: number, limit: number): number {
  if (der[at] === tag && (der[at + 1] ?? 0x80) < 0x80 && at + 2 <= limit) return at + 2
  return expect(elementAt(der, at, limit), tag).from
}

function endAt(der: Buffer, at: number, from: number, limit: number): number {
  const to = from + (der[at + 1] ?? 0)
  return from === at + 2 && to <= limit ? to : elementAt(der, at, limit).to
}

/** Positions of serial numbers, each in the first free place from its hash on; 0 is a free one. */
function* tableOf(der: Buffer, starts: readonly number[]): Steps<SerialSet> {
  const size = 2 ** Math.ceil(Math.log2(starts.length * 2 + 2))
  const table = new Uint32Array(size)
  for (const [index, start] of starts.entries()) {
    if (index % batch === 0) yield
    const from = contentAt(der, start, tags.integer, der.length)
    const to = endAt(der, start, from, der.length)
    let place = hashOf(der, significant(der, from, to), to) % size
    while (table[place] !== 0) place = (place + 1) % size
    table[place] = start
  }
  return {
    has(serial) {
      const wanted = Buffer.from(serial, 'hex')
      let place = hashOf(wanted, 0, wanted.length) % size
      for (let start = table[place] ?? 0; start !== 0; start = table[place] ?? 0) {
        if (integerHex(der, elementAt(der, start)) === serial) return true
        place = (place + 1) % size
      }
      return false
    },
  }
}

/** The first byte that is not zero, or the last one. */
function significant(der: Buffer, from: number, to: number): number {
  let start = from
  while (start < to - 1 && der[start] === 0) start += 1
  return start
}

/** FNV-1a. */
function hashOf(bytes: Buffer, from: number, to: number): number {
  let hash = 0x811c9dc5
  for (let at = from; at < to; at += 1) {
    hash = Math.imul(hash ^ (bytes[at] ?? 0), 0x01000193)
  }
  return hash >>> 0
}

/** An entry of another authority makes the list an indirect one, whether that says so or not. */
function checkExtensions(der: Buffer, extensions: Element): void {
  expect(extensions, tags.sequence)
  for (let at = extensions.from; at < extensions.to;) {
    const extension = expect(elementAt(der, at, extensions.to), tags.sequence)
    const oid = expect(elementAt(der, extension.from, extension.to), tags.objectIdentifier)
    const next = elementAt(der, oid.to, extension.to)
    const critical = next.tag === tags.boolean && der[next.from] !== 0
    const arc = standardArc(der, oid)
    if (arc === certificateIssuer) throw new Error('is an indirect list: use direct ones')
    if (critical && !harmless.has(arc)) {
      throw new Error('has an entry with a critical extension that is not supported')
    }
    at = extension.to
  }
}

/** The last number of 2.5.29.x, where the extensions of RFC 5280 are; -1 elsewhere. */
function standardArc(der: Buffer, { from, to }: Element): number {
  const isStandard = to - from === 3 && der[from] === 0x55 && der[from + 1] === 0x1d
  return isStandard ? (der[from + 2] ?? -1) : -1
}
