// The names in a certificate, read from the texts that node:crypto makes of them.
import { unescapeValue } from './distinguished-name.ts'

/** Names in a client certificate, presented or vouched for by a token of ours. */
export interface CertificateNames {
  commonName: string
  /** RFC 4514. */
  subject: string
  dnsNames: readonly string[]
  uris: readonly string[]
  /** Set where the certificate is a valid X.509-SVID; its one URI. */
  spiffeId?: string
}

/**
 * The subject as RFC 4514 text and its common name, from `X509Certificate.subject`: one line per
 * RDN, in the certificate's own order, values already escaped. Undefined where it is none of that.
 */
export function parseSubject(text: string): { subject: string; commonName: string } | undefined {
  // The type says that there always is a subject; an empty one is undefined.
  const lines = (text as string | undefined)?.split('\n') ?? []
  const rdns = lines.map((line) => line.split(' + '))
  if (!rdns.flat().every((pair) => /^[A-Za-z0-9.]+=/.test(pair))) return undefined
  const commonNames = rdns.flat().filter((pair) => pair.startsWith('CN='))
  return {
    // RFC 4514, section 2.1: the last RDN comes first.
    subject: rdns
      .toReversed()
      .map((rdn) => rdn.join('+'))
      .join(','),
    commonName: unescapeValue(commonNames.at(-1)?.slice('CN='.length) ?? '') ?? '',
  }
}

/**
 * DNS names and URIs from `X509Certificate.subjectAltName`: entries of `type:value` parted by
 * `, `, where a value with special characters is a JSON string. Undefined where it is none of that.
 */
export function parseAlternativeNames(
  text: string | undefined,
): { dnsNames: string[]; uris: string[] } | undefined {
  const names = { dnsNames: [] as string[], uris: [] as string[] }
  const entry = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y
  if (text === undefined) return names
  while (entry.lastIndex < text.length) {
    const match = entry.exec(text)
    if (match?.[1] === undefined || match[2] === undefined) return undefined
    const [, type, quoted] = match
    const value = unquote(quoted)
    if (value === undefined) return undefined
    if (type === 'DNS') names.dnsNames.push(value)
    else if (type === 'URI') names.uris.push(value)
  }
  return names
}

function unquote(value: string): string | undefined {
  if (!value.startsWith('"')) return value
  try {
    return JSON.parse(value) as string
  } catch {
    return undefined
  }
}
