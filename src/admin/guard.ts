// Who may do what on the admin listener: asked by its own name, by a caller that the policy allows,
// and by no page of somebody else.
import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.ts'
import { callerOf } from '../identity/certificate.ts'
import type { Identity } from '../identity/identity.ts'
import { isLocal } from './control-socket.ts'

export type AdminAction = 'admin:read' | 'admin:write'

export interface GuardOptions {
  /** Whether the Host of a request is a name of the listener. */
  isOwn: (request: FastifyRequest['raw']) => boolean
  /** Whether the policy lets the caller see more than the health checks, or change something. */
  mayAdminister: (caller: Identity, action: AdminAction) => boolean
  /** Counts a refusal by a word of a small set. */
  onRefusal: (reason: string) => void
  /** Writes an audit line. */
  audit: (facts: Readonly<Record<string, unknown>>) => void
}

/** Throws GatewayError DENIED. Who can open the socket in the cache folder owns all of it anyway. */
export function createGuard(options: GuardOptions): (request: FastifyRequest) => void {
  const { isOwn, mayAdminister, onRefusal, audit } = options

  function deny(reason: string, message: string): GatewayError {
    onRefusal(reason)
    return new GatewayError('DENIED', message, { reason })
  }

  return ({ raw, method }) => {
    if (isLocal(raw)) return
    if (!isOwn(raw)) {
      throw deny(
        'foreign_host',
        'the admin listener has no such name: ask by its address, or add the name to admin.names',
      )
    }
    const { origin, host } = raw.headers
    const action = method === 'GET' || method === 'HEAD' ? 'admin:read' : 'admin:write'
    const isForeign = (origin !== undefined && hostIn(origin) !== host) || isCrossSite(raw.headers)
    if (action === 'admin:write' && isForeign) {
      throw deny('foreign_origin', 'a page of somebody else may change nothing here')
    }
    const caller = callerOf(raw.socket)
    if (caller.kind === 'refused') {
      throw deny(caller.reason, 'the client certificate is not accepted')
    }
    if (isProbe(raw.url) || mayAdminister(caller, action)) return
    const who = caller.kind === 'certificate' ? caller.subject : 'anonymous'
    const client = raw.socket.remoteAddress
    audit({ audit: 'refused', client, who, how: caller.kind, action, reason: 'policy' })
    throw deny('policy', 'the caller may not do this here')
  }
}

/** A browser says so (W3C Fetch Metadata), also where it sends no origin. */
function isCrossSite({ 'sec-fetch-site': site }: IncomingHttpHeaders): boolean {
  return site === 'cross-site' || site === 'same-site'
}

/** `host:port` of an origin; undefined where it is none, as `null` of a file or a sandbox. */
function hostIn(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined
}

/** What load balancers and the kubelet ask, who have no certificate. */
function isProbe(url = ''): boolean {
  return /^\/(?:healthz|readyz)(?:\?|$)/.test(url)
}
