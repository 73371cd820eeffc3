// Knows the algorithms of signatures: verifies a revocation list's (ECDSA, RSA and RSA-PSS with SHA-2,
// and Ed25519), and tells the weak ones.
import { constants, verify, type KeyObject } from 'node:crypto'
import { childrenOf, elementAt, expect, integerHex, oidOf, tags, type Element } from './der.ts'

interface Algorithm {
  /** Null where the algorithm has its own. */
  hash: string | null
  /** Of RSA-PSS: bytes of salt. */
  salt?: number
}

const algorithms: Readonly<Record<string, Algorithm>> = {
  '1.2.840.10045.4.3.2': { hash: 'sha256' },
  '1.2.840.10045.4.3.3': { hash: 'sha384' },
  '1.2.840.10045.4.3.4': { hash: 'sha512' },
  '1.2.840.113549.1.1.11': { hash: 'sha256' },
  '1.2.840.113549.1.1.12': { hash: 'sha384' },
  '1.2.840.113549.1.1.13': { hash: 'sha512' },
  '1.3.101.112': { hash: null },
}

/** RSA with MD2, MD4, MD5 and SHA-1 under two names, ECDSA and DSA with SHA-1 under two names. */
const weakDigests: ReadonlySet<string> = new Set([
  '1.2.840.113549.1.1.2',
  '1.2.840.113549.1.1.3',
  '1.2.840.113549.1.1.4',
  '1.2.840.113549.1.1.5',
  '1.3.14.3.2.29',
  '1.2.840.10045.4.1',
  '1.2.840.10040.4.3',
  '1.3.14.3.2.27',
])

const rsaPss = '1.2.840.113549.1.1.10'
const mgf1 = '1.2.840.113549.1.1.8'
const hashes: Readonly<Record<string, string>> = {
  '2.16.840.1.101.3.4.2.1': 'sha256',
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
}

/**
 * Says of a key whether it has made `signature`, and hashes what is signed once for each key: a long
 * list takes a while, and is the same at most reloads and for each listener. `algorithm` is an
 * AlgorithmIdentifier in `der`; what comes back throws an Error where that is a weak or an unknown one.
 */
export function signatureCheck(
  der: Buffer,
  algorithm: Element,
  { signed, signature }: { signed: Buffer; signature: Buffer },
): (key: KeyObject) => boolean {
  const known = new Map<string, boolean>()

  function check(key: KeyObject): boolean {
    const { hash, salt } = algorithmOf(der, algorithm)
    const padding = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: salt }
    try {
      return verify(hash, signed, salt === undefined ? key : { key, ...padding }, signature)
    } catch {
      // The key is of another kind.
      return false
    }
  }

  return (key) => {
    const name = key.export({ type: 'spki', format: 'der' }).toString('base64')
    const isSigned = known.get(name) ?? check(key)
    known.set(name, isSigned)
    return isSigned
  }
}

/** Whether `algorithm`, an AlgorithmIdentifier in `der`, signs an MD5 or SHA-1 digest, or MD2 to MD4. */
export function hasWeakDigest(der: Buffer, algorithm: Element): boolean {
  const [oid, parameters] = childrenOf(der, algorithm)
  const name = oidOf(der, expect(oid, tags.objectIdentifier))
  return weakDigests.has(name) || (name === rsaPss && pssOf(der, parameters) === undefined)
}

function algorithmOf(der: Buffer, algorithm: Element): Algorithm {
  const [oid, parameters] = childrenOf(der, algorithm)
  const name = oidOf(der, expect(oid, tags.objectIdentifier))
  const known = name === rsaPss ? pssOf(der, parameters) : algorithms[name]
  if (known !== undefined) return known
  throw new Error(`is signed with ${name}: use ECDSA or RSA with SHA-2, or Ed25519`)
}

/**
 * `RSASSA-PSS-params` (RFC 4055, section 3.1): undefined for SHA-1, which is what they mean where
 * they do not say, and for a mask of another hash.
 */
function pssOf(der: Buffer, parameters: Element | undefined): Algorithm | undefined {
  const said = new Map(
    (parameters === undefined ? [] : childrenOf(der, expect(parameters, tags.sequence))).map(
      (field) => [field.tag, elementAt(der, field.from, field.to)],
    ),
  )
  const [hash, mask, salt] = [said.get(0xa0), said.get(0xa1), said.get(0xa2)]
  if (hash === undefined || mask === undefined) return undefined
  const [generator, maskHash] = childrenOf(der, mask)
  if (oidOf(der, expect(generator, tags.objectIdentifier)) !== mgf1) return undefined
  const name = hashIn(der, hash)
  if (name === undefined || hashIn(der, maskHash) !== name) return undefined
  return { hash: name, salt: salt === undefined ? 20 : Number(`0x${integerHex(der, salt)}`) }
}

function hashIn(der: Buffer, algorithm: Element | undefined): string | undefined {
  const [oid] = childrenOf(der, expect(algorithm, tags.sequence))
  return hashes[oidOf(der, expect(oid, tags.objectIdentifier))]
}
