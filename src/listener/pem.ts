// Files of certificates and keys, and what is wrong with them in words.
import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** Takes what is wrong with one setting, such as `has expired`. */
export type Tell = (message: string) => void

/** The bytes of `file`; undefined, and told, where it is missing or cannot be read. */
export function readBytes(file: string | undefined, tell: Tell): Buffer | undefined {
  if (file === undefined) {
    tell('is missing')
    return undefined
  }
  try {
    return readFileSync(file)
  } catch (error) {
    tell(`cannot read ${file}: ${readingFailure(error)}`)
    return undefined
  }
}

/** The certificates in a PEM text; none, and told, where it is damaged. */
export function certificatesIn(pem: string | undefined, tell: Tell): X509Certificate[] {
  if (pem === undefined) return []
  try {
    return parseCertificates(pem)
  } catch (error) {
    tell(error instanceof Error ? error.message : String(error))
    return []
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

function readingFailure(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? String(error)
  const known: Record<string, string> = {
    ENOENT: 'there is no such file',
    EACCES: 'permission denied',
    EISDIR: 'it is a folder',
  }
  return known[code] ?? code
}
