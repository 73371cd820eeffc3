// Keeps each connection of a listener to what its client certificate is worth now, not only to
// what it was worth at the handshake.
import type { TLSSocket } from 'node:tls'
import { judge, type Verdict } from './revocation.ts'
import type { ClientTrust } from './authorities.ts'

/** Handshakes take at most this long: until then some may end that began with other authorities. */
const straggling = 10_000

const known = Symbol('verdict')

interface Known extends Verdict {
  generation: number
  /** Whether OpenSSL accepted the certificate; where it did not, or there is none, nothing changes. */
  accepted: boolean
}

type GuardedSocket = TLSSocket & { [known]?: Known }

export interface ClientGuard {
  /**
   * Sets `authorized` and `authorizationError` of the socket as a handshake would do it now, and
   * returns what has become wrong since then. Costs next to nothing while nothing has changed.
   */
  check: (socket: TLSSocket, now?: number) => string | undefined
  /** From now on, every connection is held to `trust`. */
  replace: (trust: ClientTrust) => void
}

/** A guard for the connections of one server, whose authorities are those of `initial`. */
export function createClientGuard(initial: ClientTrust): ClientGuard {
  let trust = initial
  let generation = 0
  let thoroughUntil = 0

  function judgeAgain(socket: GuardedSocket, now: number): Known {
    const accepted = socket[known]?.accepted ?? socket.authorized
    const certificate = accepted ? socket.getPeerX509Certificate() : undefined
    const verdict =
      certificate === undefined
        ? { until: Infinity }
        : judge(trust, certificate, now < thoroughUntil)
    return { ...verdict, accepted, generation }
  }

  return {
    check(socket: GuardedSocket, now = Date.now()) {
      let verdict = socket[known]
      if (verdict?.generation !== generation) {
        verdict = judgeAgain(socket, now)
        socket[known] = verdict
      }
      if (!verdict.accepted) return undefined
      const error = verdict.error ?? (now >= verdict.until ? 'CRL_HAS_EXPIRED' : undefined)
      socket.authorized = error === undefined
      // As Node does it: a code, whatever its types say.
      socket.authorizationError = (error ?? null) as unknown as Error
      return error
    },
    replace(next) {
      if (isMissingOne(trust, next)) thoroughUntil = Date.now() + straggling
      trust = next
      generation += 1
    },
  }
}

/** Whether an authority is no longer trusted: then what was verified with it may be worth nothing. */
function isMissingOne(before: ClientTrust, after: ClientTrust): boolean {
  const left = new Set(after.authorities.map(({ certificate }) => certificate.fingerprint256))
  return before.authorities.some(({ certificate }) => !left.has(certificate.fingerprint256))
}
