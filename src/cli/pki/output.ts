// What the `pki` sub-commands print.
import type { Issuance } from '../../pki/issue.ts'
import type { CrlFile } from '../../pki/revoke.ts'
import { printLine } from '../output/print.ts'
import { shown } from './options.ts'

/** The files, and who and how long the certificate is for. */
export function tellIssuance({ entry, files }: Issuance): void {
  const names = [...entry.dnsNames, ...entry.ipAddresses, ...entry.uris]
  for (const file of files) printLine(shown(file))
  const about = [
    entry.subject,
    ...names,
    `until ${dayOf(entry.notAfter)}`,
    `serial ${entry.serial}`,
  ]
  printLine(`  ${about.join(', ')}`)
}

export function tellCrl({ file, nextUpdate }: CrlFile): void {
  const end = dayOf(nextUpdate.toISOString())
  printLine(shown(file))
  printLine(`  sign it again ("pki crl") before ${end}`)
}

/** The day of an ISO 8601 date. */
export function dayOf(date: string): string {
  return date.slice(0, 10)
}
