// Finds what OpenSSL's security level has against the chain of a client: Node calls it UNSPECIFIED,
// as it does other things.
import type { KeyObject, X509Certificate } from 'node:crypto'
import { hasWeakDigest } from './crl-signature.ts'
import { childrenOf, elementAt } from './der.ts'

/** By the names of OpenSSL. */
export type Weakness = 'EE_KEY_TOO_SMALL' | 'CA_KEY_TOO_SMALL' | 'CA_MD_TOO_WEAK'

/** What level 2 asks for: 112 bits of security (NIST SP 800-57, part 1, table 2). */
const least = { rsa: 2048, ec: 224 }

/**
 * The first weakness of `chain`, a client's certificate and what it has sent behind it, or of those
 * among `authorities` that are above it; the signature of a root by itself says nothing.
 */
export function weaknessOf(
  chain: readonly X509Certificate[],
  authorities: readonly X509Certificate[],
): Weakness | undefined {
  const path = [...chain]
  // `path` grows while it is walked.
  for (const one of path) {
    path.push(...authorities.filter((above) => one.checkIssued(above) && !path.includes(above)))
  }
  const [leaf, ...above] = path
  if (leaf === undefined) return undefined
  if (hasWeakKey(leaf)) return 'EE_KEY_TOO_SMALL'
  if (above.some(hasWeakKey)) return 'CA_KEY_TOO_SMALL'
  return path.some((one) => !one.checkIssued(one) && hasWeakSignature(one))
    ? 'CA_MD_TOO_WEAK'
    : undefined
}

/** Whether OpenSSL refuses everybody whose certificate this is, or comes from it. */
export function hasWeakKey({ publicKey }: X509Certificate): boolean {
  const bits = bitsOf(publicKey)
  return bits !== undefined && bits < (publicKey.asymmetricKeyType === 'ec' ? least.ec : least.rsa)
}

/** Undefined for keys of one size, such as Ed25519. */
function bitsOf({ asymmetricKeyDetails = {} }: KeyObject): number | undefined {
  const { modulusLength, namedCurve } = asymmetricKeyDetails
  // Curves are called by their bits: prime192v1, secp160r1.
  return modulusLength ?? (namedCurve === undefined ? undefined : Number(/\d{3}/.exec(namedCurve)))
}

function hasWeakSignature({ raw }: X509Certificate): boolean {
  const [, algorithm] = childrenOf(raw, elementAt(raw, 0))
  return algorithm !== undefined && hasWeakDigest(raw, algorithm)
}
