// Signs and verifies the list of a bundle, by an Ed25519 key or by the key pair of a certificate.
import { createPublicKey, sign, verify, X509Certificate, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { systemCode, UsageError } from '../../errors.ts'
import { parsePrivateKey } from '../../rules/key-pair.ts'

/** What other programs can verify: `openssl pkeyutl -rawin` for Ed25519, `openssl dgst -sha256` for others. */
function algorithmFor({ asymmetricKeyType }: KeyObject): string | null {
  return asymmetricKeyType?.startsWith('ed') === true ? null : 'sha256'
}

const keyTypes: ReadonlySet<string | undefined> = new Set(['ed25519', 'ed448', 'ec', 'rsa'])

export function signBundle(list: Buffer, key: KeyObject): Buffer {
  return sign(algorithmFor(key), list, key)
}

export function isSignedBy(list: Buffer, signature: Buffer, key: KeyObject): boolean {
  return verify(algorithmFor(key), list, key, signature)
}

/** Reads `--sign-key`: the private key in a PEM file. Throws UsageError. */
export function readSignKey(file: string): KeyObject {
  const path = '--sign-key'
  try {
    return usable(
      parsePrivateKey(readKeyFile(path, file), undefined, {
        withoutPassphrase: 'is encrypted: name a file with the key as it is',
        wrongPassphrase: 'cannot be opened',
      }),
    )
  } catch (error) {
    throw problemOf(path, file, error)
  }
}

/**
 * Reads `--verify-key`: a public key or a certificate in PEM. Of a certificate only the key counts: a
 * bundle may be on its way for longer than that is valid. Throws UsageError.
 */
export function readVerifyKey(file: string): KeyObject {
  const path = '--verify-key'
  try {
    const pem = readKeyFile(path, file)
    const isCertificate = pem.includes('-----BEGIN CERTIFICATE-----')
    if (isCertificate) return usable(new X509Certificate(pem).publicKey)
    if (!pem.includes('-----BEGIN PUBLIC KEY-----')) {
      throw new Error('has no PEM public key and no certificate')
    }
    return usable(createPublicKey(pem))
  } catch (error) {
    throw problemOf(path, file, error)
  }
}

function usable(key: KeyObject): KeyObject {
  if (keyTypes.has(key.asymmetricKeyType)) return key
  throw new Error(`is a key of the kind ${key.asymmetricKeyType}: use Ed25519, EC or RSA`)
}

function readKeyFile(path: string, file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new UsageError([{ path, message: `${file} cannot be read (${systemCode(error)})` }])
  }
}

function problemOf(path: string, file: string, error: unknown): UsageError {
  if (error instanceof UsageError) return error
  const isOurs = error instanceof Error && !('code' in error)
  const message = isOurs ? error.message : 'has no usable PEM key'
  return new UsageError([{ path, message: `${file} ${message}` }])
}
