// When certificates and revocation lists end, told in time.
import type { X509Certificate } from 'node:crypto'
import type { Logger } from 'pino'
import type { ListenerTlsConfig } from '../config/schema.ts'
import { certificateExpiries, isDue, type Expiry } from '../rules/expiry.ts'
import type { ClientTrust } from './trust/authorities.ts'

const day = 86_400_000
const lookEvery = 3_600_000

/** The ends of what a listener uses. `chain` is what its `cert` holds. */
export function expiriesOf(
  tls: ListenerTlsConfig,
  at: string,
  chain: readonly X509Certificate[],
  { authorities }: ClientTrust,
): Expiry[] {
  const lists = new Set(authorities.flatMap(({ revocation }) => revocation?.lists ?? []))
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
    const due = inUse().filter((expiry) => isDue(expiry, now))
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
