// Who is calling, by the client certificate of the connection: worked out once per connection.
import { createHash, type X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { verificationReason } from '../errors.ts'
import type { Anonymous, CertificateIdentity } from './identity.ts'
import { parseAlternativeNames, parseSubject } from '../rules/certificate-names.ts'
import { spiffeIdOf } from '../rules/spiffe.ts'

/** A caller whose credential is wrong: to be answered with 403, never taken for anonymous. */
export interface CertificateRefusal {
  kind: 'refused'
  /** A word of a small set, such as `expired` or `unknown_ca`. */
  reason: string
}

export type Caller = Anonymous | CertificateIdentity | CertificateRefusal

const clientAuth = '1.3.6.1.5.5.7.3.2'
const anonymous: Anonymous = { kind: 'anonymous' }
const expired: CertificateRefusal = { kind: 'refused', reason: 'expired' }

/** A socket of any kind, with what TLS and this file add to it. */
type KnownSocket = Socket &
  Partial<Pick<TLSSocket, 'authorized' | 'authorizationError'>> & {
    [known]?: Anonymous | CertificateIdentity
  }

/** Where the result is kept: reading the certificate takes 0.2 ms, a request 0.1. */
const known = Symbol('caller')

/**
 * The caller behind a connection, anonymous without TLS or without a certificate. Whether the
 * certificate has expired meanwhile, and whether the listener has taken back its `authorized`, is
 * checked at every call.
 */
export function callerOf(socket: KnownSocket, now = Date.now()): Caller {
  const caller = socket[known] ?? identify(socket, now)
  if (caller.kind === 'refused') return caller
  // What is refused today may be accepted tomorrow: only the others are kept.
  socket[known] = caller
  if (caller.kind === 'anonymous') return caller
  if (socket.authorized !== true) return refused(verificationReason(socket.authorizationError))
  return now >= caller.expiresAt ? expired : caller
}

function identify(socket: Socket, now: number): Caller {
  if (!isTls(socket)) return anonymous
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) {
    // A socket that is gone has forgotten its certificate as well.
    return socket.destroyed ? refused('closed') : anonymous
  }
  if (!socket.authorized) return refused(verificationReason(socket.authorizationError))
  return identityOf(certificate, now)
}

function isTls(socket: Socket): socket is TLSSocket {
  return 'encrypted' in socket && socket.encrypted === true
}

/** The identity in a certificate whose chain is verified, unless it is none for a client. */
function identityOf(
  certificate: X509Certificate,
  now: number,
): CertificateIdentity | CertificateRefusal {
  // Node calls the extended key usage `keyUsage`.
  const purposes = certificate.keyUsage as string[] | undefined
  if (certificate.ca) return refused('ca_certificate')
  if (purposes === undefined) return refused('no_purpose')
  if (!purposes.includes(clientAuth)) return refused('wrong_purpose')
  if (now < certificate.validFromDate.getTime()) return refused('not_yet_valid')
  const subject = parseSubject(certificate.subject)
  const names = parseAlternativeNames(certificate.subjectAltName)
  if (subject === undefined || names === undefined) return refused('malformed')
  return {
    kind: 'certificate',
    ...subject,
    ...names,
    ...spiffeIdOf(certificate.raw, names.uris),
    serial: certificate.serialNumber,
    thumbprint: createHash('sha256').update(certificate.raw).digest('base64url'),
    expiresAt: certificate.validToDate.getTime(),
  }
}

function refused(reason: string): CertificateRefusal {
  return { kind: 'refused', reason }
}
