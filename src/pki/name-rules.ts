// Judges names as certificates carry them: subject, DNS, IP, URI; and as files are called after them.
import { isIP } from 'node:net'
import type { Problem } from '../errors.ts'
import { isSpiffeId } from '../rules/spiffe.ts'
import type { AlternativeNames } from './profile.ts'

const label = '[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?'
const dnsPattern = new RegExp(`^(?:\\*\\.)?${label}(?:\\.${label})*$`)

/** A host name, or `*.` before one. All-numeric last labels are addresses, not names. */
export function isDnsName(text: string): boolean {
  return text.length <= 253 && dnsPattern.test(text) && !/(^|\.)\d+$/.test(text)
}

/** What is wrong with a common name; X.520 allows 64 characters. */
export function commonNameProblem(commonName: string): string | undefined {
  if (commonName.trim() === '') return 'is empty: give the certificate a name'
  if (Array.from(commonName).length > 64) return 'is longer than the 64 characters of a common name'
  if (/\p{C}/u.test(commonName)) return 'has a control character'
  return undefined
}

/** What is wrong with the alternative names, each under its path, such as `dnsNames`. */
export function alternativeNameProblems(names: AlternativeNames): Problem[] {
  const wrong = (path: string, values: readonly string[] = [], ok: (value: string) => boolean) =>
    values.filter((value) => !ok(value)).map((value) => ({ path, value: JSON.stringify(value) }))
  return [
    ...wrong('dnsNames', names.dnsNames, isDnsName).map(({ path, value }) => ({
      path,
      message: `${value} is no DNS name`,
    })),
    ...wrong('ipAddresses', names.ipAddresses, (value) => isIP(value) !== 0).map(
      ({ path, value }) => ({ path, message: `${value} is no IP address` }),
    ),
    ...wrong('uris', names.uris, isUri).map(({ path, value }) => ({
      path,
      message: `${value} is no absolute URI such as spiffe://example.org/edge-1`,
    })),
  ]
}

function isUri(text: string): boolean {
  return /^spiffe:/i.test(text)
    ? isSpiffeId(text)
    : /^[\x21-\x7e]+$/.test(text) && URL.canParse(text)
}

const reserved = /^(?:ca|issuing|issued)$/

/** What is wrong with a name that files are called after. */
export function fileNameProblem(name: string): string | undefined {
  if (reserved.test(name)) return `"${name}" is taken by the authority itself`
  if (!/^[A-Za-z0-9_][A-Za-z0-9._@:+-]{0,63}$/.test(name)) {
    const shown = JSON.stringify(name)
    return `${shown} cannot name files: use at most 64 letters, digits and . _ @ : + -`
  }
  return undefined
}
