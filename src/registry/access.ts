// May this request go on? Identity, `auth.require` and policy in one verdict, and its audit line.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { GatewayError } from '../errors.ts'
import type { CertificateIdentity, Identity } from '../identity/identity.ts'
import type { Place } from '../oci/place.ts'
import {
  challengeHeader,
  judgeAccess,
  type ChallengeSetting,
  type AccessVerdict,
} from '../policy/verdict.ts'
import type { Action, Decision, Policy } from '../policy/policy.ts'
import type { Subject } from '../policy/subject.ts'
import type { Caller } from '../identity/certificate.ts'
import { identityOfCaller, type Audit } from './audit.ts'
import type { Presented } from './authenticate.ts'
import type { Exchange } from './request-record.ts'

/** What is to be done, and with what: without a place it is decided by `auth.require` alone. */
export interface Wanted {
  action: Action
  place: Place | undefined
  /** Scope of a token that would help, such as `registry:catalog:*`; that of the place by default. */
  scope?: string
}

/** Of the actions those that are about the admin listener. */
type AdminAction = Extract<Action, `admin:${string}`>

/** What of an exchange is needed here. */
export type Asking = Pick<Exchange, 'req' | 'identity' | 'isAdmitted' | 'resource'>

export interface Access {
  /**
   * Notes in the exchange who it is, and that the caller may do this.
   * @throws or rejects with GatewayError UNAUTHORIZED, DENIED, TOOMANYREQUESTS or UNAVAILABLE
   */
  admit: (exchange: Asking, wanted: Wanted) => Identity | Promise<Identity>
  /**
   * The same for a request that comes as from another replica, which has decided for its own client.
   * @throws GatewayError DENIED where its certificate is not that of a replica
   */
  admitReplica: (exchange: Asking, wanted: Wanted) => Identity
  /** Whether a list may show the repository to the caller. */
  mayList: (identity: Identity, place: Place) => boolean
  /** Whether the token service may put the repository into a token. */
  mayHaveToken: (identity: Identity, place: Place) => boolean
  /** Whether the caller may look in by the admin listener, or change something there. */
  mayAdminister: (identity: Identity, action: AdminAction) => boolean
}

export interface AccessOptions {
  presented: (req: IncomingMessage) => Presented | Promise<Presented>
  callerOf: (socket: Socket) => Caller
  subjectOf: (identity: Identity) => Subject
  policy: Policy
  /** Whether a client certificate is that of a replica. */
  isReplica: (identity: CertificateIdentity) => boolean
  /** Whether a rule of the policy is about the admin listener. */
  hasAdminRules: boolean
  setting: ChallengeSetting
  /** What a challenge says: the realm, where it is not this gateway's own, and the service. */
  challenge: { realm: string | undefined; service: string; ownRealm: boolean; secure: boolean }
  audit: Audit
}

export function createAccess(options: AccessOptions): Access {
  const { presented, callerOf, subjectOf, policy, setting, audit } = options

  function decide(asking: Asking, wanted: Wanted, from: Presented): Identity {
    const { place, action } = wanted
    asking.identity = from.identity
    const decision =
      place === undefined
        ? undefined
        : policy.decide(subjectOf(from.identity), action, nameOfPlace(place))
    const verdict = judgeAccess(setting, from.shown, decision)
    if (verdict.kind !== 'allow') {
      throw refusal(options, asking, wanted, { from, verdict, decision })
    }
    asking.isAdmitted = true
    return from.identity
  }

  /** What was shown cannot even be judged: told here, once, and passed on. */
  function unjudged(asking: Asking, { action, place }: Wanted, error: unknown): unknown {
    const { req, resource } = asking
    asking.identity = identityOfCaller(callerOf(req.socket))
    if (error instanceof GatewayError && error.reason !== undefined) {
      const { identity } = asking
      audit.refused({ socket: req.socket, identity, action, place, resource, reason: error.reason })
    }
    return error
  }

  return {
    admit(asking, wanted) {
      let from
      try {
        from = presented(asking.req)
      } catch (error) {
        throw unjudged(asking, wanted, error)
      }
      if (!(from instanceof Promise)) return decide(asking, wanted, from)
      return from.then(
        (later) => decide(asking, wanted, later),
        (error: unknown) => {
          throw unjudged(asking, wanted, error)
        },
      )
    },
    admitReplica(asking, { action, place }) {
      const caller = callerOf(asking.req.socket)
      if (caller.kind === 'certificate' && options.isReplica(caller)) {
        asking.identity = caller
        asking.isAdmitted = true
        return caller
      }
      const { req, resource } = asking
      const identity = identityOfCaller(caller)
      asking.identity = identity
      const reason = caller.kind === 'refused' ? caller.reason : 'no_replica'
      audit.refused({ socket: req.socket, identity, action, place, resource, reason })
      const message = 'this certificate is not that of a replica; see replicas.identity'
      throw new GatewayError('DENIED', message, { reason })
    },
    mayList: (identity, place) =>
      policy.decide(subjectOf(identity), 'list', nameOfPlace(place)).allowed,
    mayHaveToken: (identity, place) =>
      policy.decide(subjectOf(identity), 'token', nameOfPlace(place)).allowed,
    mayAdminister(identity, action) {
      if (!options.hasAdminRules) return true
      // No repository is meant: a rule for it leaves `repositories` out. The default allows pulls only.
      const { allowed, rule } = policy.decide(subjectOf(identity), action, 'admin')
      return allowed && rule !== 'default'
    },
  }
}

/** How rules and tokens name a repository. */
export function nameOfPlace({ upstream, repository }: Place): string {
  return `${upstream}/${repository}`
}

interface Refused {
  from: Presented
  verdict: Exclude<AccessVerdict, { kind: 'allow' }>
  decision: Decision | undefined
}

function refusal(
  options: AccessOptions,
  { req, resource }: Asking,
  wanted: Wanted,
  { from, verdict, decision }: Refused,
): GatewayError {
  const reason = from.invalid === undefined ? verdict.reason : `token_${from.invalid}`
  options.audit.refused({
    socket: req.socket,
    identity: from.identity,
    action: wanted.action,
    place: wanted.place,
    resource,
    reason,
    rule:
      verdict.reason === 'policy' || verdict.reason === 'insufficient_scope'
        ? decision?.rule
        : undefined,
  })
  if (verdict.kind === 'deny') {
    const message =
      verdict.reason === 'no_certificate'
        ? 'a client certificate is needed'
        : 'the caller may not do this here'
    return new GatewayError('DENIED', message, { reason })
  }
  const { realm, service, ownRealm, secure } = options.challenge
  const own = ownRealm
    ? `${secure ? 'https' : 'http'}://${req.headers.host ?? ''}/token`
    : undefined
  const used = realm ?? own
  const scope = scopeOf(wanted)
  const header = challengeHeader({
    service,
    ...(used === undefined ? {} : { realm: used }),
    ...(scope === undefined ? {} : { scope }),
    ...(verdict.error === undefined ? {} : { error: verdict.error }),
  })
  return new GatewayError('UNAUTHORIZED', 'a token is needed that allows this', {
    headers: { 'www-authenticate': header },
    reason,
  })
}

function scopeOf({ place, scope }: Wanted): string | undefined {
  return scope ?? (place === undefined ? undefined : `repository:${nameOfPlace(place)}:pull`)
}
