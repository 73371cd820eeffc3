// Says when certificates and revocation lists end, and from when on that is to be told.
import type { X509Certificate } from 'node:crypto'

/** The end of something in use. */
export interface Expiry {
  kind: 'certificate' | 'crl'
  /** The path of the key in the config that names the file, such as `listen.tls.cert`. */
  use: string
  file: string
  /** Subject of a certificate, issuer of a list. */
  name: string
  /** Of a certificate, hex. */
  serial?: string
  /** Milliseconds since the epoch. */
  expiresAt: number
}

const warnBefore = 30 * 86_400_000

/** The ends of `certificates`, which were read from `file`. */
export function certificateExpiries(
  use: string,
  file: string,
  certificates: readonly X509Certificate[],
): Expiry[] {
  return certificates.map(({ subject, serialNumber, validToDate }) => ({
    kind: 'certificate',
    use,
    file,
    // The type says that there always is a subject; an empty one is undefined.
    name: ((subject as string | undefined) ?? '').replaceAll('\n', ','),
    serial: serialNumber,
    expiresAt: validToDate.getTime(),
  }))
}

/** Certificates are to be renewed from 30 days before their end on; lists have been replaced by it. */
export function isDue({ kind, expiresAt }: Expiry, now: number): boolean {
  return expiresAt <= (kind === 'crl' ? now : now + warnBefore)
}
