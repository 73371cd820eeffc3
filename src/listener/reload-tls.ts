// The certificates, authorities and revocation lists of a listener, replaced while it runs.
import { X509Certificate } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import type { ListenerTlsConfig } from '../config/schema.ts'
import { UsageError, verificationReason } from '../errors.ts'
import { readTlsFiles, type TlsCredentials } from './tls-files.ts'
import type { Expiry } from '../rules/expiry.ts'
import type { CrlFiles } from './trust/crl-files.ts'
import { rollbacks } from './trust/rollback.ts'
import { connectionsOf } from './connections.ts'
import { securedBy, type ListenerServer, type Secured } from './server.ts'

/** Connections looked at before others get their turn. */
const batch = 50

/** What a reload can do to a TLS server. */
export interface ListenerRenewal {
  section: 'listen' | 'admin'
  /** The files that are read, absolute. */
  files: (tls: ListenerTlsConfig) => string[]
  /**
   * Reads and checks the files of `tls`, and changes nothing; `take` cannot fail. Throws UsageError.
   * `clientAuth` stays what it was at the start.
   */
  prepare: (
    tls: ListenerTlsConfig,
    lists: CrlFiles,
  ) => Promise<{ facts: Record<string, unknown>; take: () => void }>
}

/** Undefined for a server without TLS. */
export function renewalOf(server: ListenerServer): ListenerRenewal | undefined {
  const secured = securedBy(server)
  if (secured === undefined) return undefined
  const { section = 'listen' } = secured.options
  return {
    section,
    files: filesOf,
    async prepare(tls, lists) {
      const at = `${section}.tls`
      const credentials = readTlsFiles(tls, at, await lists.load(tls.crl))
      const older = tls.crlRollback
        ? []
        : rollbacks(secured.credentials.trust, credentials.trust, { files: tls.crl, at })
      if (older.length > 0) throw new UsageError(older)
      return { facts: factsOf(credentials), take: () => replace(secured, credentials) }
    },
  }
}

/** The certificate that the server presents; undefined without TLS. */
export function certificateInUse(server: ListenerServer): X509Certificate | undefined {
  const cert = securedBy(server)?.credentials.context.cert
  return typeof cert === 'string' ? new X509Certificate(cert) : undefined
}

/** When what the server uses ends; nothing without TLS. */
export function expiriesInUse(server: ListenerServer): readonly Expiry[] {
  return securedBy(server)?.credentials.expiries ?? []
}

function filesOf({ cert, key, clientCa, crl }: ListenerTlsConfig): string[] {
  return [cert, key, ...clientCa, ...crl].filter((file) => file !== undefined)
}

function factsOf({ expiries: [leaf] }: TlsCredentials) {
  return leaf === undefined ? {} : { expires: new Date(leaf.expiresAt).toISOString() }
}

function replace(secured: Secured, credentials: TlsCredentials): void {
  const { server, guard, options } = secured
  for (const warning of credentials.warnings) options.log.warn(warning)
  server.setSecureContext(credentials.context)
  guard.replace(credentials.trust)
  secured.credentials = credentials
  void closeRefused(secured)
}

/** Closes connections, idle or not, whose client would not be let in any more. */
async function closeRefused(secured: Secured): Promise<void> {
  const { credentials } = secured
  let count = 0
  for (const socket of [...connectionsOf(secured.server).ready] as TLSSocket[]) {
    closeIfRefused(secured, socket)
    count += 1
    if (count % batch === 0) await setImmediate()
    // The next reload has begun to look at all of them.
    if (secured.credentials !== credentials) return
  }
}

function closeIfRefused({ guard, options }: Secured, socket: TLSSocket): void {
  if (socket.destroyed) return
  const error = guard.check(socket)
  const certificate = socket.getPeerX509Certificate()
  if (error !== undefined) {
    const reason = verificationReason(error)
    const facts = { reason, subject: certificate?.subject, source: socket.remoteAddress }
    options.log.warn(facts, 'connection closed: its client is refused now')
    options.onRefusedCaller?.(reason)
    socket.destroy()
  } else if (certificate !== undefined && !socket.authorized) {
    // Refused by the authorities of then, whom OpenSSL has asked: these may let it in.
    socket.destroy()
  }
}
