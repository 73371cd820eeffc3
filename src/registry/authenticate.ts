// Who sends a request, by everything it shows: the connection's certificate and a bearer token.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { GatewayError } from '../errors.ts'
import { isBound, type BearerVerifier } from '../identity/bearer.ts'
import type { Caller } from '../identity/certificate.ts'
import type { CertificateIdentity, Identity, TokenIdentity } from '../identity/identity.ts'
import { sourceOf, type Throttle } from '../identity/throttle.ts'
import type { AuthConfig } from '../config/access-schema.ts'
import type { Shown } from '../policy/verdict.ts'

export interface Presented {
  identity: Identity
  shown: Shown
  /** Why the token is not accepted, for the log. */
  invalid?: string
}

export interface CredentialsOptions {
  callerOf: (socket: Socket) => Caller
  /** Absent where no token is accepted: one that comes all the same is not looked at. */
  verifier: BearerVerifier | undefined
  require: AuthConfig['require']
  /** Slows down who brings token after token that is not accepted. */
  throttle: Throttle
}

const anonymous: Presented = {
  identity: { kind: 'anonymous' },
  shown: { certificate: false, token: 'none' },
}

/**
 * @returns a function that answers at once but for a token that it has not seen yet. It throws, or
 *   rejects with, GatewayError DENIED for a certificate that is not accepted, TOOMANYREQUESTS, and
 *   UNAVAILABLE where the keys to verify a token with cannot be had.
 */
export function createCredentials(options: CredentialsOptions) {
  const { callerOf, verifier, require, throttle } = options
  /** The same object for the same certificate, and for the same pair. */
  const ofCertificate = new WeakMap<CertificateIdentity, Presented>()

  function withoutToken(certificate: CertificateIdentity | undefined): Presented {
    if (certificate === undefined) return anonymous
    const before = ofCertificate.get(certificate)
    if (before !== undefined) return before
    const made: Presented = {
      identity: certificate,
      shown: { certificate: true, token: 'none' },
    }
    ofCertificate.set(certificate, made)
    return made
  }

  function refusedToken(
    certificate: CertificateIdentity | undefined,
    reason: string,
    source: string,
  ): Presented {
    // Who signed a token that has expired is known: it is no guess, and a whole site's may expire.
    if (reason !== 'expired') throttle.fail(source)
    const { identity, shown } = withoutToken(certificate)
    return { identity, shown: { ...shown, token: 'invalid' }, invalid: reason }
  }

  function withToken(
    certificate: CertificateIdentity | undefined,
    token: TokenIdentity,
    source: string,
  ): Presented {
    if (!isBound(token, certificate?.thumbprint)) {
      return refusedToken(certificate, 'binding', source)
    }
    const shown = { certificate: certificate !== undefined, token: 'valid' } as const
    return certificate === undefined
      ? { identity: token, shown }
      : { identity: { kind: 'certificate+token', certificate, token }, shown }
  }

  async function verify(
    certificate: CertificateIdentity | undefined,
    text: string,
    source: string,
    by: BearerVerifier,
  ): Promise<Presented> {
    const wait = throttle.wait(source)
    if (wait > 0) throw slowDown(wait)
    const outcome = await by.verify(text)
    if (outcome.kind === 'token') return withToken(certificate, outcome, source)
    if (outcome.reason === 'keys_unavailable') throw keysUnavailable()
    return refusedToken(certificate, outcome.reason, source)
  }

  /** A token beside a certificate that decides alone: what it says counts, its faults do not. */
  async function verifyBeside(
    certificate: CertificateIdentity,
    text: string,
    by: BearerVerifier,
  ): Promise<Presented> {
    const outcome = await by.verify(text)
    return outcome.kind === 'token' && isBound(outcome, certificate.thumbprint)
      ? withToken(certificate, outcome, '')
      : withoutToken(certificate)
  }

  return ({ socket, headers }: IncomingMessage): Presented | Promise<Presented> => {
    const caller = callerOf(socket)
    if (caller.kind === 'refused') throw certificateRefused(caller.reason)
    const certificate = caller.kind === 'certificate' ? caller : undefined
    const text = verifier === undefined ? undefined : bearerIn(headers.authorization)
    if (verifier === undefined || text === undefined) return withoutToken(certificate)
    if (certificate !== undefined && require !== 'token' && require !== 'all') {
      // Some clients always send a placeholder that is no token of anybody.
      if (!isTokenLike(text)) return withoutToken(certificate)
      if (require === 'certificate') return verifyBeside(certificate, text, verifier)
    }
    const source = sourceOf(socket.remoteAddress, certificate)
    const known = verifier.known(text)
    if (known !== undefined) return withToken(certificate, known, source)
    return verify(certificate, text, source, verifier)
  }
}

/** Whether a text is meant as a JWT at all (RFC 7515, section 3.1). */
function isTokenLike(text: string): boolean {
  return text.split('.', 4).length === 3
}

/** RFC 6750, section 2.1. Basic credentials belong to the token endpoint. */
function bearerIn(authorization: string | undefined): string | undefined {
  return authorization === undefined ? undefined : /^bearer +(\S+) *$/i.exec(authorization)?.[1]
}

export function certificateRefused(reason: string): GatewayError {
  return new GatewayError('DENIED', 'the client certificate is not accepted', { reason })
}

function slowDown(wait: number): GatewayError {
  return new GatewayError('TOOMANYREQUESTS', 'too many invalid tokens from here: wait a while', {
    headers: { 'retry-after': String(Math.ceil(wait / 1000)) },
    reason: 'throttled',
  })
}

export function keysUnavailable(): GatewayError {
  return new GatewayError(
    'UNAVAILABLE',
    'the keys of the token issuer cannot be had now: try again',
    {
      headers: { 'retry-after': '10' },
      reason: 'keys_unavailable',
    },
  )
}
