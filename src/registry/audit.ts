// Tells the audit of refusals and of pulls by tag: one line and one count for each.
import type { Socket } from 'node:net'
import type { Caller } from '../identity/certificate.ts'
import { callerName, type Identity } from '../identity/identity.ts'
import type { Place } from '../oci/place.ts'
import type { Resource } from '../oci/resource.ts'
import type { Exchange } from './request-record.ts'

/** Writes one line. */
export type WriteAudit = (facts: Readonly<Record<string, unknown>>) => void

export interface Refusal {
  socket: Socket
  /** Absent where nobody was established. */
  identity: Identity | undefined
  /** The user whose password or refresh token was refused. */
  user?: string | undefined
  /** `pull`, `list` or `token`. */
  action: string
  place?: Place | undefined
  resource?: Resource | undefined
  reason: string
  rule?: string | undefined
}

export interface Audit {
  refused: (refusal: Refusal) => void
  /** A pull by tag that has ended. */
  pulled: (exchange: Exchange) => void
}

export function createAudit(
  write: WriteAudit,
  /** Counts a refusal by a word of a small set. */
  onRefusal: (reason: string) => void,
): Audit {
  return {
    refused({ socket, identity, user, action, place, resource, reason, rule }) {
      onRefusal(reason)
      write({
        audit: 'refused',
        client: socket.remoteAddress,
        who: user ?? (identity === undefined ? 'unknown' : callerName(identity)),
        how: user === undefined ? (identity?.kind ?? 'certificate') : 'password',
        action,
        repository: place === undefined ? undefined : `${place.upstream}/${place.repository}`,
        reference: referenceOf(resource),
        rule,
        reason,
      })
    },

    pulled({ client, req, res, identity, place, resource, digest, error, source }) {
      if (identity === undefined || place === undefined) return
      write({
        audit: 'tag',
        client,
        who: callerName(identity),
        how: identity.kind,
        method: req.method,
        repository: `${place.upstream}/${place.repository}`,
        tag: referenceOf(resource),
        digest,
        outcome: error === undefined ? 'served' : 'failed',
        status: res.statusCode,
        reason: error === undefined ? undefined : (error.reason ?? error.code),
        source,
      })
    },
  }
}

/** Who a connection belongs to; nobody where its certificate is refused. */
export function identityOfCaller(caller: Caller): Identity | undefined {
  return caller.kind === 'refused' ? undefined : caller
}

function referenceOf(resource: Resource | undefined): string | undefined {
  if (resource === undefined) return undefined
  if ('digest' in resource && resource.digest !== undefined) return resource.digest
  return 'tag' in resource ? resource.tag : undefined
}
