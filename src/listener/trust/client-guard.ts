// Keeps each connection of a listener to what its client certificate is worth now, not only to
// what it was worth at the handshake.
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { ClientTrust } from './authorities.ts'
import { createSignatureCheck, judgeChain, type ChainVerdict } from './client-chain.ts'
import { peerChainOf } from './peer-chain.ts'
import { weaknessOf } from './weakness.ts'

/**
 * A connection is not used again from so long before its certificate ends on, ms: a client that has
 * a new one by then comes back with it, and is never refused.
 */
const farewell = 5000

const known = Symbol('verdict')

interface Known extends ChainVerdict {
  generation: number
  /** Whether there is a certificate, and OpenSSL accepted it; where it did not, nothing changes. */
  client: 'none' | 'refused' | 'accepted'
}

type GuardedSocket = TLSSocket & { [known]?: Known }

export interface ClientGuard {
  /**
   * Sets `authorized` and `authorizationError` of the socket as a handshake would do it now, and
   * returns what has become wrong since then. Costs next to nothing while nothing has changed.
   */
  check: (socket: TLSSocket, now?: number) => string | undefined
  /**
   * Gives a name to the `authorizationError` of a refused socket where Node has none and it is weak,
   * for sockets that `check` never sees.
   */
  explain: (socket: TLSSocket) => void
  /**
   * Whether the connection should carry no further request: its client is refused, so that it must
   * come back to be let in, or its certificate is about to end. As of the last `check`.
   */
  isSpent: (socket: TLSSocket, now?: number) => boolean
  /** From now on, every connection is held to `trust`. */
  replace: (trust: ClientTrust) => void
}

/** A guard for the connections of one server, whose authorities are those of `initial`. */
export function createClientGuard(initial: ClientTrust): ClientGuard {
  const isIssuedBy = createSignatureCheck()
  let trust = initial
  let generation = 0

  function explain(socket: TLSSocket): void {
    if (String(socket.authorizationError) !== 'UNSPECIFIED') return
    const authorities = trust.authorities.map(({ certificate }) => certificate)
    const weakness = weaknessOf(peerChainOf(socket), authorities)
    if (weakness !== undefined) socket.authorizationError = asError(weakness)
  }

  function judgeAgain(socket: GuardedSocket, now: number): Known {
    const certificate = socket.getPeerX509Certificate()
    const client = socket[known]?.client ?? clientOf(socket, certificate)
    if (client === 'refused') explain(socket)
    const verdict =
      client === 'accepted'
        ? judge(socket, certificate, now)
        : { until: Infinity, certificatesEnd: Infinity }
    return { ...verdict, client, generation }
  }

  /** By the certificate alone where that is enough: most are issued by an authority that is known here. */
  function judge(
    socket: TLSSocket,
    certificate: X509Certificate | undefined,
    now: number,
  ): ChainVerdict {
    const alone = certificate === undefined ? [] : [certificate]
    const verdict = judgeChain(trust, alone, isIssuedBy, now)
    return verdict.error === undefined
      ? verdict
      : judgeChain(trust, peerChainOf(socket), isIssuedBy, now)
  }

  return {
    check(socket: GuardedSocket, now = Date.now()) {
      let verdict = socket[known]
      // Only what is good is believed for a while.
      if (
        verdict?.generation !== generation ||
        verdict.error !== undefined ||
        now >= verdict.until
      ) {
        verdict = judgeAgain(socket, now)
        socket[known] = verdict
      }
      if (verdict.client !== 'accepted') return undefined
      const { error } = verdict
      socket.authorized = error === undefined
      socket.authorizationError = asError(error ?? null)
      return error
    },
    explain,
    isSpent(socket: GuardedSocket, now = Date.now()) {
      const verdict = socket[known]
      if (verdict === undefined || verdict.client === 'none') return false
      if (verdict.client === 'refused' || verdict.error !== undefined) return true
      return now >= verdict.certificatesEnd - farewell
    },
    replace(next) {
      trust = next
      generation += 1
    },
  }
}

/** As Node does it: a code, whatever its types say. */
function asError(code: string | null): Error {
  return code as unknown as Error
}

function clientOf(
  { authorized }: TLSSocket,
  certificate: X509Certificate | undefined,
): Known['client'] {
  if (certificate === undefined) return 'none'
  return authorized ? 'accepted' : 'refused'
}
