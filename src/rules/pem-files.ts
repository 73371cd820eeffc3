// The files that a config names, read so that an operator understands what is wrong with them.
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'

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
    const code = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new Error(`cannot read ${file}: ${readingFailures[code] ?? code}`, { cause })
  }
}

/** The certificates in a PEM text; throws an Error that says which one is broken. */
export function parseCertificates(pem: string): X509Certificate[] {
  const begun = pem.match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----/g)?.length ?? 0
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []
  if (begun === 0) throw new Error('has no PEM certificate (-----BEGIN CERTIFICATE-----)')
  return Array.from({ length: begun }, (_, index) => {
    try {
      return new X509Certificate(blocks[index] ?? '')
    } catch (cause) {
      throw new Error(`is damaged: certificate ${index + 1} of ${begun} is unreadable`, { cause })
    }
  })
}

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
