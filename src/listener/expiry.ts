// When certificates and revocation lists end, told in time.
import type { X509Certificate } from 'node:crypto'
import type { Logger } from 'pino'
import type { ListenerTlsConfig } from '../config/schema.ts'
import type { ClientTrust } from './trust/authorities.ts'

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

const day = 86_400_000
const warnBefore = 30 * day
const lookEvery = 3_600_000

/** The ends of `certificates`, which were read from `file`. */
function certificateExpiries(
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

/** The ends of what a listener uses. `chain` is what its `cert` holds. */
export function expiriesOf(
  tls: ListenerTlsConfig,
  at: string,
  chain: readonly X509Certificate[],
  { authorities }: ClientTrust,
): Expiry[] {
  const lists = new Set(authorities.flatMap(({ revocation }) => revocation ?? []))
  return [
    ...certificateExpiries(`${at}.cert`, tls.cert ?? '', chain),
    ...authorities.flatMap(({ certificate, file }) =>
      certificateExpiries(`${at}.clientCa`, file, [certificate]),
    ),
    ...[...lists]
      .filter(({ nextUpdate }) => nextUpdate !== Infinity)
      .map(({ file, issuer, nextUpdate }): Expiry => ({
        kind: 'crl',
        use: `${at}.crl`,
        file,
        name: issuer,
        expiresAt: nextUpdate,
      })),
  ]
}

/**
 * Warns of certificates from 30 days before their end on, and of revocation lists that are
 * outdated: now, and once a day for each. `inUse` is asked every hour. Returns what stops it.
 */
export function watchExpiry(inUse: () => readonly Expiry[], log: Logger): () => void {
  const warned = new Map<string, number>()
  const look = () => {
    const now = Date.now()
    const due = inUse().filter(({ kind, expiresAt }) =>
      kind === 'crl' ? expiresAt <= now : expiresAt <= now + warnBefore,
    )
    for (const expiry of due) {
      const key = `${expiry.use} ${expiry.file} ${expiry.name} ${expiry.serial ?? ''}`
      if (now - (warned.get(key) ?? 0) < day) continue
      warned.set(key, now)
      tell(expiry, now, log)
    }
  }
  look()
  const timer = setInterval(look, lookEvery)
  timer.unref()
  return () => clearInterval(timer)
}

function tell({ kind, use, file, name, serial, expiresAt }: Expiry, now: number, log: Logger) {
  const expires = new Date(expiresAt).toISOString()
  const days = Math.floor((expiresAt - now) / day)
  const facts = { use, file, name, serial, expires, days }
  if (kind === 'crl') log.warn(facts, 'revocation list is outdated: put a new one in its place')
  else if (expiresAt <= now) log.warn(facts, 'certificate has expired: renew it')
  else log.warn(facts, 'certificate expires soon: renew it')
}
