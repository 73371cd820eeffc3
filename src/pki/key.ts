// Private keys: made, read back with what signing needs to know of them, and encrypted on request.
import { webcrypto } from 'node:crypto'
import 'reflect-metadata'
import { PemConverter } from '@peculiar/x509'

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

/** PEM of the unencrypted private key, PKCS#8. */
export async function privateKeyPem({ privateKey }: SigningKey): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', privateKey)
  return `${PemConverter.encode(der, 'PRIVATE KEY')}\n`
}

function signingKey(pair: webcrypto.CryptoKeyPair): SigningKey {
  const { name } = pair.privateKey.algorithm
  const curve = (pair.privateKey.algorithm as webcrypto.EcKeyAlgorithm).namedCurve
  const hash = curve === 'P-384' ? 'SHA-384' : 'SHA-256'
  return { ...pair, signing: name === 'Ed25519' ? { name } : { name, hash } }
}
