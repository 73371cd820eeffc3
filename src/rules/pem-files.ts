// Reads the files that a config names, so that an operator understands what is wrong with them.
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { messageOf, systemCode } from '../errors.ts'

const readingFailures: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a folder',
}

/** The text in `file`; throws an Error that says why it cannot be read. */
export function readTextFile(file: string): string {
  return readBinaryFile(file).toString('utf8')
}

/** The bytes in `file`; throws an Error that says why it cannot be read. */
export function readBinaryFile(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (cause) {
    const code = systemCode(cause)
    throw new Error(`cannot read ${file}: ${readingFailures[code] ?? code}`, { cause })
  }
}

const certificateBlock = /-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----/g

/** The certificates in a PEM text; throws an Error that says which one is broken. */
export function parseCertificates(pem: string): X509Certificate[] {
  const begun = pem.match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/g)?.length ?? 0
  const blocks = [...pem.matchAll(certificateBlock)].map(([, base64 = '']) => base64)
  if (begun === 0) {
    throw new Error(`has no PEM certificate (-----BEGIN CERTIFICATE-----)${hintFor(pem)}`)
  }
  return Array.from({ length: begun }, (_, index) => {
    try {
      return new X509Certificate(decodeBase64(blocks[index] ?? ''))
    } catch (cause) {
      throw new Error(`is damaged: certificate ${index + 1} of ${begun} is unreadable`, { cause })
    }
  })
}

/**
 * PEM that OpenSSL reads whole, whatever the file looked like: it skips what it cannot read, such
 * as a certificate that begins in the middle of a line.
 */
export function pemOfAll(certificates: readonly X509Certificate[]): string {
  return certificates.map((certificate) => certificate.toString()).join('')
}

function decodeBase64(text: string): Buffer {
  const base64 = text.replaceAll(/\s+/g, '')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) throw new Error('no base64')
  return Buffer.from(base64, 'base64')
}

/** What the file is instead, and what to do. */
function hintFor(content: string): string {
  if (content.trim() === '') return ': it is empty'
  if (content.startsWith('0') && content.includes('\ufffd')) {
    return ': it is DER, convert it with openssl x509 -inform der -in FILE'
  }
  if (content.includes('-----BEGIN PKCS7-----')) {
    return ': it is PKCS#7, take them out with openssl pkcs7 -print_certs -in FILE'
  }
  return content.includes('PRIVATE KEY-----') ? ': it is a private key' : ''
}

/** Takes what is wrong with one setting, such as `has expired`. */
export type Tell = (message: string) => void

/** The bytes of `file`; undefined, and told, where it is missing or cannot be read. */
export function readBytes(file: string | undefined, tell: Tell): Buffer | undefined {
  if (file === undefined) {
    tell('is missing')
    return undefined
  }
  return tryReading(() => readBinaryFile(file), tell)
}

/** The certificates in a PEM text; none, and told, where it is damaged. */
export function certificatesIn(pem: string | undefined, tell: Tell): X509Certificate[] {
  return (pem === undefined ? undefined : tryReading(() => parseCertificates(pem), tell)) ?? []
}

/** What `read` returns; undefined, and told, where it throws. */
export function tryReading<Value>(read: () => Value, tell: Tell): Value | undefined {
  try {
    return read()
  } catch (error) {
    tell(messageOf(error))
    return undefined
  }
}
