// Revoking what was issued, and signing the lists that say so.
import { join } from 'node:path'
import { UsageError } from '../errors.ts'
import { keyIdOf, type Authority } from './authority.ts'
import { firstEnd, signCrl, splitCrls, type SignedCrl } from './crl.ts'
import { readIfThere, writeFiles } from './state/files.ts'
import { changing, openAuthority, readAuthority, type AuthorityFolder } from './state/folder.ts'
import {
  appendToLedger,
  readLedger,
  type LedgerRecord,
  type RevocationReason,
} from './state/ledger.ts'

export interface CrlFile {
  file: string
  /** When the first of its lists must have been replaced. */
  nextUpdate: Date
}

export interface RevokeOptions {
  /** A name: every certificate that was issued under it; or one serial, hex. */
  which: { name: string } | { serial: string }
  reason: RevocationReason
}

export const defaultCrlDays = 90

/**
 * Revokes and signs the CRL anew. Throws UsageError where there is nothing to revoke, or the CRL
 * cannot be signed; nothing has changed then.
 */
export async function revoke(
  folder: AuthorityFolder,
  { which, reason }: RevokeOptions,
): Promise<{ revoked: LedgerRecord[]; crl: CrlFile }> {
  return changing(folder.dir, async () => {
    const records = readLedger(folder.dir)
    const chosen = choose(records, which)
    const signers = await openSigners(folder)
    const canList = (issuer: string) => signers.authorities.some(({ keyId }) => keyId === issuer)
    const unlisted = chosen.find(({ issuer }) => !canList(issuer))
    if (unlisted !== undefined) {
      const message = `${unlisted.name} was signed by an authority whose key is not here: bring it back`
      throw new UsageError([{ path: 'NAME', message }])
    }
    const at = new Date().toISOString()
    appendToLedger(
      folder.dir,
      chosen.map(({ serial }) => ({ event: 'revoked', serial, at, reason })),
    )
    return { revoked: chosen, crl: await writeCrl(folder, signers, defaultCrlDays) }
  })
}

/** Signs `ca.crl` anew, valid for `days`. */
export async function refreshCrl(folder: AuthorityFolder, days = defaultCrlDays): Promise<CrlFile> {
  if (!(Number.isInteger(days) && days >= 1 && days <= 3650)) {
    const message = 'must be a whole number of days from 1 to 3650'
    throw new UsageError([{ path: 'days', message }])
  }
  return changing(folder.dir, async () => writeCrl(folder, await openSigners(folder), days))
}

/** Who signs a list now, and the list of the root where its key has been taken elsewhere. */
interface Signers {
  authorities: readonly Authority[]
  kept: readonly SignedCrl[]
}

async function openSigners(folder: AuthorityFolder): Promise<Signers> {
  const has = (file: string) => readIfThere(join(folder.dir, file)) !== undefined
  if (!has('issuing.crt')) return { authorities: [await openAuthority(folder, 'ca')], kept: [] }
  const issuing = await openAuthority(folder, 'issuing')
  if (has('ca.key')) return { authorities: [await openAuthority(folder, 'ca'), issuing], kept: [] }
  const root = await keyIdOf(readAuthority(folder, 'ca'))
  const kept = listsIn(folder).filter(({ issuerKeyId }) => issuerKeyId === root)
  if (kept.length > 0) return { authorities: [issuing], kept }
  const message = 'lacks the list of the root: bring back ca.key to sign it'
  throw new UsageError([{ path: 'ca.crl', message }])
}

/** One file with the list of each authority, the root's first. */
async function writeCrl(
  folder: AuthorityFolder,
  { authorities, kept }: Signers,
  days: number,
): Promise<CrlFile> {
  const file = join(folder.dir, 'ca.crl')
  const records = readLedger(folder.dir)
  const previous = listsIn(folder)
  const signed = await Promise.all(
    authorities.map((authority) => signCrl(authority, records, { days, previous })),
  )
  const content = [...kept.map(({ pem }) => pem), ...signed].join('')
  writeFiles([{ path: file, content }])
  return { file, nextUpdate: firstEnd(content) ?? new Date() }
}

function listsIn({ dir }: AuthorityFolder): SignedCrl[] {
  return splitCrls(readIfThere(join(dir, 'ca.crl')) ?? '')
}

function choose(records: readonly LedgerRecord[], which: RevokeOptions['which']): LedgerRecord[] {
  const named = 'name' in which ? which.name : which.serial
  const serial = 'serial' in which ? normalSerial(which.serial) : undefined
  const known = records.filter((record) =>
    serial === undefined ? record.name === named : record.serial === serial,
  )
  const path = serial === undefined ? 'NAME' : '--serial'
  const refused = (message: string) => new UsageError([{ path, message }])
  if (known.length === 0) throw refused(`nothing was issued as "${named}": see "pki list --all"`)
  if (known.some(({ profile }) => profile === 'root')) {
    throw refused('a root is in no list: take it out of clientCa of the gateway instead')
  }
  const open = known.filter(
    ({ revoked, notAfter }) => revoked === undefined && Date.parse(notAfter) > Date.now(),
  )
  if (open.length === 0) throw refused(`"${named}" has been revoked or has expired already`)
  return open
}

/** `0a:1b` and `A1B` are the serial `A1B`: OpenSSL writes whole bytes, so `0A1B`. */
function normalSerial(text: string): string {
  const hex = text.replaceAll(':', '').toUpperCase()
  return hex.padStart(hex.length + (hex.length % 2), '0')
}
