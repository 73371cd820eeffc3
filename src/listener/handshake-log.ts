// Why a connection came to nothing: one word for metrics, one log line per reason and source.
import type { TLSSocket } from 'node:tls'
import type { Logger } from 'pino'
import { verificationReason } from '../errors.ts'
import { createQuietLog } from '../rules/quiet-log.ts'
import { transportOf } from './connections.ts'

const reasons: Readonly<Record<string, string>> = {
  ECONNRESET: 'closed_by_client',
  EPIPE: 'closed_by_client',
  ERR_SSL_BAD_CERTIFICATE: 'refused_by_client',
  ERR_SSL_HTTP_REQUEST: 'not_tls',
  ERR_SSL_NO_APPLICATION_PROTOCOL: 'unsupported_protocol',
  ERR_SSL_NO_PROTOCOLS_AVAILABLE: 'unsupported_protocol',
  ERR_SSL_NO_SHARED_CIPHER: 'no_shared_cipher',
  ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM: 'no_shared_cipher',
  ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE: 'no_certificate',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'refused_by_client',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'refused_by_client',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'refused_by_client',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'refused_by_client',
  ERR_SSL_TLS_ALERT_BAD_CERTIFICATE: 'refused_by_client',
  ERR_SSL_UNEXPECTED_EOF_WHILE_READING: 'closed_by_client',
  ERR_SSL_UNKNOWN_PROTOCOL: 'not_tls',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'unsupported_protocol',
  ERR_SSL_VERSION_TOO_LOW: 'unsupported_protocol',
  ERR_SSL_WRONG_VERSION_NUMBER: 'not_tls',
}

const hints: Readonly<Record<string, string>> = {
  bad_proxy_header:
    'listen.proxyProtocol names this address: its connections have to begin with a header of version 2',
  expired: 'renew the client certificate',
  no_certificate: 'the client must present a certificate',
  not_tls: 'the client must speak https',
  refused_by_client: "the client must trust the CA of the gateway's certificate",
  timeout: 'the client did not finish the handshake in time',
  too_many_connections: 'the limit of open connections is reached',
  too_many_from_address: 'listen.limits.connectionsPerAddress is reached',
  too_many_handshakes: 'listen.limits.handshakes is reached: newer ones had to have room',
  too_many_requests: 'the client sent requests without waiting for answers',
  too_slow: 'the client took less than listen.limits.minRate of what it was sent',
  unknown_ca: 'the client certificate must come from an authority in clientCa',
  unsupported_protocol: 'the client offers only TLS versions below minVersion',
  weak_algorithm:
    'the client certificate, or an authority above it, must be signed anew: SHA-2 in place of SHA-1',
  weak_key:
    'the client certificate, or an authority above it, needs a larger key: EC P-256, or RSA from 2048 bits on',
  wrong_purpose: 'the client certificate must have the extended key usage clientAuth',
}

/** A word of a small set: safe as a metric label. */
function handshakeReason(error: Error, socket: TLSSocket): string {
  // A refused certificate arrives as a bare ECONNRESET; only the socket knows better.
  if (socket.authorizationError) return verificationReason(socket.authorizationError)
  const code = 'code' in error ? String(error.code) : ''
  return reasons[code] ?? 'other'
}

export interface ConnectionReporter {
  /** For `tlsClientError`. */
  handshakeFailed: (error: Error, socket: TLSSocket) => void
  /** A connection was ended, most often before it could carry a request. */
  ended: (reason: string, source: string) => void
  /** For `drop`: the limit of connections is reached. */
  dropped: (connection?: { remoteAddress?: string }) => void
}

/**
 * Counts every connection that came to nothing by `onHandshakeFailure`, and logs the same reason
 * from the same address once a minute, with how many were left out.
 */
export function createConnectionReporter(options: {
  log: Logger
  onHandshakeFailure: (reason: string) => void
  onConnectionRefused?: (reason: string, source: string) => void
}): ConnectionReporter {
  const { log, onHandshakeFailure, onConnectionRefused } = options
  const quiet = createQuietLog()

  function report(reason: string, source: string, error?: Error): void {
    onHandshakeFailure(reason)
    const suppressed = quiet(`${reason} ${source}`)
    if (suppressed === undefined) return
    const code = error !== undefined && 'code' in error ? error.code : undefined
    const facts = { reason, source, code, detail: error?.message, hint: hints[reason], suppressed }
    // TCP health checks connect and go away: nothing to be warned about.
    const level = reason === 'closed_by_client' ? 'info' : 'warn'
    if (level === 'warn') onConnectionRefused?.(reason, source)
    log[level](facts, error === undefined ? 'connection refused' : 'TLS handshake failed')
  }

  return {
    handshakeFailed: (error, socket) =>
      report(handshakeReason(error, socket), sourceOf(socket), error),
    ended: (reason, source) => report(reason, source),
    dropped: (connection) => report('too_many_connections', connection?.remoteAddress ?? 'unknown'),
  }
}

/**
 * A reset TLS socket has forgotten its peer. The TCP socket below it knows, if it was asked while
 * it was connected, which the server does.
 */
function sourceOf(socket: TLSSocket): string {
  return socket.remoteAddress ?? transportOf(socket).remoteAddress ?? 'unknown'
}
