// What a state folder holds, and how long each of it lasts.
import { join } from 'node:path'
import { UsageError } from '../../errors.ts'
import { firstEnd } from '../crl.ts'
import { readIfThere } from './files.ts'
import { readLedger, type LedgerRecord, type Revocation } from './ledger.ts'
import type { Profile } from '../profile.ts'

export interface InventoryItem {
  name: string
  kind: Profile | 'crl'
  status: 'valid' | 'expired' | 'revoked' | 'replaced'
  /** Whole days until the end, negative after it. */
  daysLeft: number
  /** ISO 8601; a CRL's next update. */
  notAfter: string
  notBefore?: string
  serial?: string
  subject?: string
  dnsNames?: readonly string[]
  ipAddresses?: readonly string[]
  uris?: readonly string[]
  fingerprint?: string
  revoked?: Revocation
}

const day = 86_400_000

/** Certificates and the CRL, what ends first on top. Throws UsageError where there is no authority. */
export function inventory(dir: string, now: Date): InventoryItem[] {
  if (readIfThere(join(dir, 'ca.crt')) === undefined) {
    const message = `${dir} has no authority (ca.crt): make one with "pki init"`
    throw new UsageError([{ path: '--dir', message }])
  }
  const daysLeft = (end: Date) => Math.floor((end.getTime() - now.getTime()) / day)
  const items = readLedger(dir).map((record): InventoryItem => {
    const { event: _event, issuer: _issuer, profile, replaced: _replaced, ...rest } = record
    const end = new Date(record.notAfter)
    return { ...rest, kind: profile, status: statusOf(record, now), daysLeft: daysLeft(end) }
  })
  const end = firstEnd(readIfThere(join(dir, 'ca.crl')) ?? '')
  const list: InventoryItem[] =
    end === undefined
      ? []
      : [
          {
            name: 'ca.crl',
            kind: 'crl',
            status: end > now ? 'valid' : 'expired',
            daysLeft: daysLeft(end),
            notAfter: end.toISOString(),
          },
        ]
  return [...items, ...list].sort((a, b) => a.notAfter.localeCompare(b.notAfter))
}

function statusOf({ revoked, replaced, notAfter }: LedgerRecord, now: Date) {
  if (revoked !== undefined) return 'revoked'
  if (replaced) return 'replaced'
  return new Date(notAfter) > now ? 'valid' : 'expired'
}
