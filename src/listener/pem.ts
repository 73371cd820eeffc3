// Files of certificates and keys, and what is wrong with them told rather than thrown.
import type { X509Certificate } from 'node:crypto'
import { parseCertificates, readBinaryFile } from '../config/pem.ts'

/** Takes what is wrong with one setting, such as `has expired`. */
export type Tell = (message: string) => void

/** The bytes of `file`; undefined, and told, where it is missing or cannot be read. */
export function readBytes(file: string | undefined, tell: Tell): Buffer | undefined {
  if (file === undefined) {
    tell('is missing')
    return undefined
  }
  return attempt(() => readBinaryFile(file), tell)
}

/** The certificates in a PEM text; none, and told, where it is damaged. */
export function certificatesIn(pem: string | undefined, tell: Tell): X509Certificate[] {
  return (pem === undefined ? undefined : attempt(() => parseCertificates(pem), tell)) ?? []
}

function attempt<Value>(read: () => Value, tell: Tell): Value | undefined {
  try {
    return read()
  } catch (error) {
    tell(error instanceof Error ? error.message : String(error))
    return undefined
  }
}
