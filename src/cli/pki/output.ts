// What the `pki` sub-commands print.
import type { Issuance } from '../../pki/issue.ts'
import type { CrlFile } from '../../pki/revoke.ts'
import { shown } from './options.ts'

/** The files, and who and how long the certificate is for. */
export function tellIssuance({ entry, files }: Issuance): void {
  const names = [...entry.dnsNames, ...entry.ipAddresses, ...entry.uris]
  for (const file of files) process.stdout.write(`${shown(file)}\n`)
  const about = [
    entry.subject,
    ...names,
    `until ${dayOf(entry.notAfter)}`,
    `serial ${entry.serial}`,
  ]
  process.stdout.write(`  ${about.join(', ')}\n`)
}

export function tellCrl({ file, nextUpdate }: CrlFile): void {
  const end = dayOf(nextUpdate.toISOString())
  process.stdout.write(`${shown(file)}\n  sign it again ("pki crl") before ${end}\n`)
}

/** The day of an ISO 8601 date. */
export function dayOf(date: string): string {
  return date.slice(0, 10)
}
