// The gateways that a request has come through (`Via`, RFC 9110 section 7.6.3), so that a loop ends.
import { randomBytes } from 'node:crypto'
import { GatewayError } from '../errors.ts'

/**
 * More than anybody has behind each other: each gateway is there up to four times, as two replicas of which
 * each is two workers.
 */
const most = 16

/**
 * The header of a request among replicas, and the versions of what it means. 1: whoever asks has decided for
 * its own client that it may, and whoever is asked asks no further replica to fetch it. 2: the same, and
 * `Cache-Control: only-if-cached` is heeded (RFC 9111 section 5.2.1.7), so only what needs that says 2.
 */
export const replicaHeader = 'portcullis-replica'
export const replicaVersions = { fetching: '1', looking: '2' } as const

/** On whose behalf a worker of this gateway asks another one: percent-encoded, as `Place` has it. */
export const clientHeader = 'portcullis-client'

/** What a gateway calls itself: says nothing of where it is, and is another one at each start. */
export function newPseudonym(): string {
  return `portcullis-${randomBytes(6).toString('hex')}`
}

/** The header for the gateways of `names`, in the order of the way. */
export function viaHeader(names: readonly string[]): string {
  return names.map((name) => `1.1 ${name}`).join(', ')
}

/**
 * The gateways in a header; others on the way are of no interest. Throws GatewayError LOOP_DETECTED
 * where `own` is among them, or more than can be meant.
 */
export function gatewaysIn(header: string, own: string): string[] {
  const names: string[] = header.match(/\bportcullis-[0-9a-f]{12}\b/g) ?? []
  if (names.includes(own)) {
    throw loop('this gateway asks itself: an upstream, or what is behind one, leads back here')
  }
  if (names.length >= most) throw loop(`the request has come through ${names.length} gateways`)
  return names
}

function loop(message: string): GatewayError {
  return new GatewayError('LOOP_DETECTED', message, { reason: 'loop' })
}
