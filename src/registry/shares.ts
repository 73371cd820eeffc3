// What each client has of the gateway: its connections and its requests under way, counted.
import type { Socket } from 'node:net'
import type { ListenLimits } from '../config/schema.ts'
import { GatewayError } from '../errors.ts'
import type { Identity } from '../identity/identity.ts'
import { networkOf } from '../rules/network.ts'
import type { Exchange } from './request-record.ts'

export interface SharesOptions {
  limits: () => Pick<ListenLimits, 'connectionsPerIdentity' | 'requestsPerIdentity'>
  /** Counts a refusal by a word of a small set. */
  onRefusal: (reason: string) => void
}

/**
 * Counts a request that has been let in until it is over, and its connection until that is closed.
 * Returns a name for the client, the same for all its connections, that means nothing else.
 * Throws GatewayError TOOMANYREQUESTS where it has too much.
 */
export type TakeShare = (exchange: Exchange, identity: Identity) => string

/** One client. */
interface Share {
  name: string
  connections: number
  requests: number
}

/** Whose a connection is, by its latest request. */
interface Held {
  share: Share
  /** A request is over. */
  leave: () => void
}

const held = Symbol('share')

type KnownSocket = Socket & { [held]?: Held }

export function createShares({ limits, onRefusal }: SharesOptions): TakeShare {
  const shares = new Map<string, Share>()

  function forgetIfUnused({ name, connections, requests }: Share): void {
    if (connections === 0 && requests === 0) shares.delete(name)
  }

  function hold(socket: KnownSocket, name: string): Held {
    const before = socket[held]
    if (before?.share.name === name) return before
    const share = shares.get(name) ?? { name, connections: 0, requests: 0 }
    if (share.connections >= limits().connectionsPerIdentity) {
      throw refused(onRefusal, 'too_many_connections', 'this client has too many connections')
    }
    shares.set(name, share)
    share.connections += 1
    if (before === undefined) socket.once('close', () => letGo(socket))
    else letGo(socket)
    const leave = () => {
      share.requests -= 1
      forgetIfUnused(share)
    }
    return (socket[held] = { share, leave })
  }

  function letGo(socket: KnownSocket): void {
    const share = socket[held]?.share
    if (share === undefined) return
    share.connections -= 1
    forgetIfUnused(share)
  }

  return ({ req, res }, identity) => {
    const { share, leave } = hold(req.socket, nameOf(identity, req.socket))
    if (share.requests >= limits().requestsPerIdentity) {
      throw refused(onRefusal, 'too_many_requests', 'this client has too many requests under way')
    }
    share.requests += 1
    res.once('close', leave)
    return share.name
  }
}

function nameOf(identity: Identity, { remoteAddress = '' }: Socket): string {
  switch (identity.kind) {
    case 'certificate':
      return `certificate ${identity.thumbprint}`
    case 'certificate+token':
      return `certificate ${identity.certificate.thumbprint}`
    case 'token':
      return `token ${identity.issuer} ${identity.subject}`
    case 'anonymous':
    default:
      return networkOf(remoteAddress)
  }
}

function refused(
  onRefusal: SharesOptions['onRefusal'],
  reason: string,
  message: string,
): GatewayError {
  onRefusal(reason)
  return new GatewayError('TOOMANYREQUESTS', `${message}: try again later`, {
    headers: { 'retry-after': '5' },
    reason,
  })
}
