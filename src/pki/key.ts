// Private keys: made, read back with what signing needs to know of them, and encrypted on request.
import { createPublicKey, KeyObject, webcrypto } from 'node:crypto'
import { parsePrivateKey } from '../rules/key-pair.ts'
import { encryptPrivateKey } from './encryption.ts'

/** What TLS clients and servers take everywhere; Ed25519 is refused by browsers. */
export const keyAlgorithms = ['P-256', 'P-384', 'RSA-3072', 'Ed25519'] as const

export type KeyAlgorithm = (typeof keyAlgorithms)[number]

/** A key pair of WebCrypto, and the digest that signatures by it are made with. */
export interface SigningKey {
  privateKey: webcrypto.CryptoKey
  publicKey: webcrypto.CryptoKey
  /** What generators of @peculiar/x509 take as `signingAlgorithm`. */
  signing: { name: string; hash?: string }
}

type Parameters =
  webcrypto.EcKeyGenParams | webcrypto.RsaHashedKeyGenParams | webcrypto.KeyAlgorithm

const rsa = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }

const parametersOf: Record<KeyAlgorithm, Parameters> = {
  'P-256': { name: 'ECDSA', namedCurve: 'P-256' },
  'P-384': { name: 'ECDSA', namedCurve: 'P-384' },
  'RSA-3072': { ...rsa, modulusLength: 3072, publicExponent: new Uint8Array([1, 0, 1]) },
  Ed25519: { name: 'Ed25519' },
}

/** A fresh key pair, extractable. */
export async function generateKey(algorithm: KeyAlgorithm): Promise<SigningKey> {
  const pair = await webcrypto.subtle.generateKey(parametersOf[algorithm], true, ['sign', 'verify'])
  return signingKey(pair as webcrypto.CryptoKeyPair)
}

/** PEM of the private key, PKCS#8: encrypted where there is a passphrase. */
export function privateKeyPem({ privateKey }: SigningKey, passphrase?: string): string {
  const key = KeyObject.from(privateKey)
  if (passphrase === undefined) return String(key.export({ type: 'pkcs8', format: 'pem' }))
  return encryptPrivateKey(key.export({ type: 'pkcs8', format: 'der' }), passphrase)
}

/**
 * The key in a PEM text, which may be encrypted. Throws an Error whose message follows the name of
 * the file: `is encrypted: ...`.
 */
export function readKey(pem: string, passphrase?: string): SigningKey {
  const key = parsePrivateKey(pem, passphrase, {
    withoutPassphrase: 'is encrypted: name the file with its passphrase',
    wrongPassphrase: 'cannot be decrypted: the passphrase is wrong or the file is damaged',
  })
  const problem = keyProblem(key)
  if (problem !== undefined) throw new Error(problem)
  const name = nameOf(key)
  const parameters = parametersIn(key, name)
  return signingKey({
    privateKey: key.toCryptoKey(parameters, true, ['sign']),
    publicKey: createPublicKey(key).toCryptoKey(parameters, true, ['verify']),
  })
}

/** Why nothing may be signed with or for this key, public or private; undefined where all is well. */
export function keyProblem({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject) {
  const { modulusLength = 0, namedCurve = '' } = asymmetricKeyDetails ?? {}
  if (asymmetricKeyType === 'ed25519') return undefined
  if (asymmetricKeyType === 'rsa') {
    if (modulusLength >= 2048) return undefined
    return `is a weak key, RSA of ${modulusLength} bits: at least 2048 are needed`
  }
  if (asymmetricKeyType === 'ec') {
    if (Object.hasOwn(curves, namedCurve)) return undefined
    return `is on the curve ${namedCurve}, which TLS does not use: P-256 is taken everywhere`
  }
  return `is a key of the kind ${String(asymmetricKeyType)}: use EC (P-256), RSA or Ed25519`
}

const curves: Readonly<Record<string, string>> = {
  prime256v1: 'P-256',
  secp384r1: 'P-384',
  secp521r1: 'P-521',
}

/** The algorithm for a new key in place of this one. */
export function keyAlgorithmOf(key: KeyObject): KeyAlgorithm {
  if (key.asymmetricKeyType === 'rsa') return 'RSA-3072'
  if (key.asymmetricKeyType === 'ed25519') return 'Ed25519'
  return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? 'P-256' : 'P-384'
}

function nameOf(key: KeyObject): string {
  if (key.asymmetricKeyType === 'ed25519') return 'Ed25519'
  return key.asymmetricKeyType === 'ec' ? 'ECDSA' : rsa.name
}

function parametersIn(key: KeyObject, name: string) {
  if (name === 'Ed25519') return { name }
  if (name === rsa.name) return rsa
  return { name, namedCurve: curves[key.asymmetricKeyDetails?.namedCurve ?? ''] ?? '' }
}

const digests: Readonly<Record<string, string>> = { 'P-384': 'SHA-384', 'P-521': 'SHA-512' }

function signingKey(pair: webcrypto.CryptoKeyPair): SigningKey {
  const { name } = pair.privateKey.algorithm
  const curve = (pair.privateKey.algorithm as webcrypto.EcKeyAlgorithm).namedCurve as
    string | undefined
  const hash = digests[curve ?? ''] ?? 'SHA-256'
  return { ...pair, signing: name === 'Ed25519' ? { name } : { name, hash } }
}
