// Judges SPIFFE IDs, accepted from a certificate only by the rules for X.509-SVIDs.
import { x509 } from './rare/packages.ts'

const trustDomain = /^[a-z0-9._-]{1,255}$/
const segment = /^[A-Za-z0-9._-]+$/
const longest = 2048

/**
 * The SPIFFE ID in a certificate that is no authority's: nothing where it has none, or where it is
 * no valid leaf SVID, which has exactly one URI and signs neither certificates nor CRLs.
 */
export function spiffeIdOf(der: Buffer, uris: readonly string[]): { spiffeId?: string } {
  const [uri] = uris
  if (uri === undefined || uris.length !== 1 || !isSpiffeId(uri)) return {}
  try {
    const { KeyUsageFlags, KeyUsagesExtension, X509Certificate } = x509()
    const usages = new X509Certificate(der).getExtension(KeyUsagesExtension)?.usages ?? 0
    const forbidden = KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign
    return (usages & forbidden) === 0 ? { spiffeId: uri } : {}
  } catch {
    return {}
  }
}

/** `spiffe://<trust domain>/<path>`, by the SPIFFE-ID specification, section 2. */
export function isSpiffeId(uri: string): boolean {
  if (!uri.startsWith('spiffe://') || uri.length > longest) return false
  const [domain = '', ...path] = uri.slice('spiffe://'.length).split('/')
  return (
    trustDomain.test(domain) &&
    path.length > 0 &&
    path.every((part) => segment.test(part) && part !== '.' && part !== '..')
  )
}
