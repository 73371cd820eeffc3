// What the matrix holds: gateway modes and upstream situations, client checks and client
// certificates, and what must come of each pair.
import { UsageError } from '../../src/errors.ts'

export const gatewayNames = [
  'one-way-insecure',
  'one-way-secure',
  'two-way-insecure',
  'two-way-secure',
] as const
export type GatewayName = (typeof gatewayNames)[number]

/** How a gateway asks an upstream. */
export interface Mode {
  /** Part of upstream and repository names. */
  name: string
  title: string
  gateway: GatewayName
  /** Whether the certificate of the upstream is checked. */
  verify: boolean
  /** Whose certificate the gateway shows: of the CA that nginx trusts, or of another. */
  shows: 'nothing' | 'gateway' | 'stranger'
}

/** The four modes, each a gateway of its own, and the last one again with a wrong certificate. */
export const modes: readonly Mode[] = [
  mode('one-way insecure', { verify: false, shows: 'nothing' }),
  mode('one-way secure', { verify: true, shows: 'nothing' }),
  mode('two-way insecure', { verify: false, shows: 'gateway' }),
  mode('two-way secure', { verify: true, shows: 'gateway' }),
  {
    name: 'two-way-stranger',
    title: 'two-way, wrong CA',
    gateway: 'two-way-secure',
    verify: true,
    shows: 'stranger',
  },
]

function mode(title: string, how: Pick<Mode, 'verify' | 'shows'>): Mode {
  const name = title.replace(' ', '-') as GatewayName
  return { name, title, gateway: name, ...how }
}

export const situationNames = [
  'one-way',
  'two-way',
  'one-way-unknown-ca',
  'two-way-unknown-ca',
  'wrong-name',
] as const
export type SituationName = (typeof situationNames)[number]

/** One server of nginx. */
export interface Situation {
  name: SituationName
  title: string
  /** `ssl_verify_client on`. */
  demandsCertificate: boolean
  /** What is to be said against its own certificate, in the gateway's word for it. */
  flaw?: 'unknown_ca' | 'wrong_name'
}

export const situations: readonly Situation[] = [
  { name: 'one-way', title: 'one-way', demandsCertificate: false },
  { name: 'two-way', title: 'two-way', demandsCertificate: true },
  {
    name: 'one-way-unknown-ca',
    title: 'one-way, unknown CA',
    demandsCertificate: false,
    flaw: 'unknown_ca',
  },
  {
    name: 'two-way-unknown-ca',
    title: 'two-way, unknown CA',
    demandsCertificate: true,
    flaw: 'unknown_ca',
  },
  { name: 'wrong-name', title: 'wrong name', demandsCertificate: false, flaw: 'wrong_name' },
]

/** Throws UsageError where there is none of that name. */
export function situationNamed(name: string): SituationName {
  const found = situationNames.find((known) => known === name)
  if (found !== undefined) return found
  const message = `${name} is no situation; there are ${situationNames.join(', ')}`
  throw new UsageError([{ path: '--break', message }])
}

/** `pulled`, or the reason of the refusal as the gateway counts it. */
export function upstreamOutcome(mode: Mode, situation: Situation): string {
  if (mode.verify && situation.flaw !== undefined) return situation.flaw
  if (!situation.demandsCertificate || mode.shows === 'gateway') return 'pulled'
  return mode.shows === 'nothing' ? 'client_certificate_required' : 'client_certificate_refused'
}

/** Name of the upstream in the gateway's config. */
export function upstreamName(mode: Mode, situation: Situation): string {
  return `${mode.name}.${situation.name}`
}

/** Every pair has an image of its own, so that no pull is answered by what another one cached. */
export function repositoryOf(mode: Mode, situation: Situation): string {
  return `${mode.name}/${situation.name}`
}

/** `listen.tls.clientAuth` of each gateway: between them they have every value. */
export const clientAuthOf = {
  'one-way-insecure': 'none',
  'one-way-secure': 'optional',
  'two-way-insecure': 'required',
  'two-way-secure': 'required',
} as const satisfies Record<GatewayName, string>

/** The gateways that the client side is tried at. */
export const clientAuths: readonly GatewayName[] = [
  'one-way-insecure',
  'one-way-secure',
  'two-way-secure',
]

export const clientNames = ['none', 'right', 'wrong-ca', 'expired'] as const
export type ClientName = (typeof clientNames)[number]

const flawOf = { none: 'no_certificate', 'wrong-ca': 'unknown_ca', expired: 'expired' } as const

/** `admitted`; `denied: reason` with an answer; `cut off: reason` without one. */
export function clientOutcome(gateway: GatewayName, client: ClientName): string {
  const clientAuth = clientAuthOf[gateway]
  if (clientAuth === 'none' || client === 'right') return 'admitted'
  if (clientAuth === 'required') return `cut off: ${flawOf[client]}`
  return client === 'none' ? 'admitted' : `denied: ${flawOf[client]}`
}
