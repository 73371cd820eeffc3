// Keeps issued.jsonl: what was ever issued and revoked, one JSON object a line, only ever appended to.
import { X509Certificate } from 'node:crypto'
import {
  appendFileSync,
  closeSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  truncateSync,
} from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../../errors.ts'
import { readIfThere, stageFiles, type NewFile } from './files.ts'
import type { AlternativeNames, Profile } from '../profile.ts'

export interface IssuedEntry extends Required<AlternativeNames> {
  event: 'issued'
  /** Upper-case hex, as `openssl x509 -serial` prints it. */
  serial: string
  /** What its files are called. */
  name: string
  profile: Profile
  subject: string
  /** ISO 8601. */
  notBefore: string
  notAfter: string
  /** SHA-256 of the certificate, hex. */
  fingerprint: string
  /** The key identifier of the authority that signed it, hex: whose CRL would list it. */
  issuer: string
}

export interface Revocation {
  /** ISO 8601. */
  at: string
  reason: RevocationReason
}

export interface RevokedEntry extends Revocation {
  event: 'revoked'
  serial: string
}

export type LedgerEntry = IssuedEntry | RevokedEntry

/** Reasons of RFC 5280, section 5.3.1, that end a certificate for good. */
export const revocationReasons = [
  'unspecified',
  'keyCompromise',
  'cACompromise',
  'affiliationChanged',
  'superseded',
  'cessationOfOperation',
  'privilegeWithdrawn',
] as const

export type RevocationReason = (typeof revocationReasons)[number]

/** A certificate, and what has become of it. */
export interface LedgerRecord extends IssuedEntry {
  revoked?: Revocation
  /** Another certificate of the same name was issued after it. */
  replaced: boolean
}

const fileName = 'issued.jsonl'

/** Every certificate in the order of issue. Throws UsageError where the file is damaged. */
export function readLedger(dir: string): LedgerRecord[] {
  const entries = completeLines(dir).map((line, index) => parseLine(line, index, dir))
  const revocations = new Map(
    entries.flatMap((entry) =>
      entry.event === 'revoked'
        ? [[entry.serial, { at: entry.at, reason: entry.reason }] as const]
        : [],
    ),
  )
  const issued = entries.filter((entry) => entry.event === 'issued')
  const last = new Map(issued.map(({ name, serial }) => [name, serial]))
  return issued.map((entry) => {
    const revoked = revocations.get(entry.serial)
    const replaced = last.get(entry.name) !== entry.serial
    return { ...entry, replaced, ...(revoked === undefined ? {} : { revoked }) }
  })
}

/**
 * Appends `entries` and puts `files` in place: both, or neither. Needs the folder's lock.
 */
export function record(
  dir: string,
  entries: readonly LedgerEntry[],
  files: readonly NewFile[],
): void {
  const staged = stageFiles(files)
  try {
    const takeBack = appendToLedger(dir, entries)
    try {
      staged.commit()
    } catch (error) {
      takeBack()
      throw error
    }
  } finally {
    staged.discard()
  }
}

/**
 * Appends whole lines, durably; where that fails the file is as it was. Needs the folder's lock.
 * Returns what makes it as it was, for as long as the lock is held.
 */
export function appendToLedger(dir: string, entries: readonly LedgerEntry[]): () => void {
  const size = Buffer.byteLength(completeText(dir))
  const text = entries.map((entry) => `${JSON.stringify(entry)}\n`).join('')
  const descriptor = openSync(join(dir, fileName), 'a', 0o644)
  try {
    ftruncateSync(descriptor, size)
    appendFileSync(descriptor, text)
    fsyncSync(descriptor)
  } catch (error) {
    ftruncateSync(descriptor, size)
    throw error
  } finally {
    closeSync(descriptor)
  }
  return () => truncateSync(join(dir, fileName), size)
}

/** The line that tells of a certificate. */
export function issuedEntry(
  pem: string,
  about: { name: string; profile: Profile; issuer: string } & AlternativeNames,
): IssuedEntry {
  const { serialNumber, subject, validFromDate, validToDate, fingerprint256 } = new X509Certificate(
    pem,
  )
  return {
    event: 'issued',
    serial: serialNumber,
    name: about.name,
    profile: about.profile,
    subject: subject.replaceAll('\n', ', '),
    dnsNames: about.dnsNames ?? [],
    ipAddresses: about.ipAddresses ?? [],
    uris: about.uris ?? [],
    notBefore: validFromDate.toISOString(),
    notAfter: validToDate.toISOString(),
    fingerprint: fingerprint256.replaceAll(':', '').toLowerCase(),
    issuer: about.issuer,
  }
}

/** Without a last line that a crash cut off: its certificate was never handed out. */
function completeText(dir: string): string {
  const text = readIfThere(join(dir, fileName)) ?? ''
  return text.slice(0, text.lastIndexOf('\n') + 1)
}

function completeLines(dir: string): string[] {
  return completeText(dir).split('\n').slice(0, -1)
}

function parseLine(line: string, index: number, dir: string): LedgerEntry {
  try {
    const entry = JSON.parse(line) as LedgerEntry
    if (entry.event === 'issued' || entry.event === 'revoked') return entry
  } catch {
    // Told below, like a line of another kind.
  }
  const message = `line ${index + 1} of ${join(dir, fileName)} is damaged: restore it from a backup`
  throw new UsageError([{ path: fileName, message }])
}
