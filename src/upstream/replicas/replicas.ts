// Asks the replica that owns something before this gateway asks the upstream itself.
import type { Logger } from 'pino'
import type { ReplicasConfig } from '../../config/upstream/replicas.ts'
import type { OriginRequest } from '../../oci/origin.ts'
import type { Expiry } from '../../rules/expiry.ts'
import { createAgents } from '../agents.ts'
import { createUpstream, type ClientContext } from '../endpoints/client.ts'
import type { EndpointCandidate } from '../endpoints/failover.ts'
import { openExchange, type Upstream } from '../exchange.ts'
import { readTlsProfile, type TlsProfile } from '../tls.ts'
import { createMembers, type OwnAddress } from './members.ts'
import { ownedKey, rank } from './ranking.ts'
import { createRests } from './rests.ts'

export interface Replicas {
  /**
   * Those that are asked before this gateway asks the upstream: the owner, and one that would be if it
   * were not there. None where this gateway is the owner, or another replica asks.
   */
  candidates: (request: OriginRequest) => EndpointCandidate[]
  /** Tells what should not be left so, and begins to follow who they are; once it is in use. */
  start: () => void
  expiries: readonly Expiry[]
  close: () => Promise<void>
}

/** More are not tried before the upstream itself, which is there for all of them. */
const mostAsked = 2

/**
 * How long one that cannot be asked is passed over, at first and at most, ms. One that is back soon has nearly all
 * that it has fetched; until it is asked again, others fetch that once more.
 */
const [firstRest, longestRest] = [250, 5000]

/** They are near, and somebody waits: one that hangs costs no more than this, ms. */
const patience = { connectTimeout: 1000, headersTimeout: 10_000, stallTimeout: 10_000 }

export interface ReplicasOptions extends ClientContext {
  own: OwnAddress
  log: Logger
}

function createReplicaClient(member: string, tls: TlsProfile, context: ClientContext): Upstream {
  const config = {
    url: `https://${member}`,
    gateway: true,
    auth: { fallback: 'none' as const, realms: [] },
    redirects: [],
    foreignLayers: 'refuse' as const,
    ...patience,
  }
  const name = 'replicas'
  const agents = createAgents(config, tls)
  const client = createUpstream(
    { name, at: name, tls, credentials: undefined, config, agents },
    context,
  )
  return {
    ...client,
    subject: { ...client.subject, title: `the replica ${member}` },
    isReplica: true,
  }
}

/** Throws UsageError with everything that is wrong with the files of the section. */
export function createReplicas(
  config: ReplicasConfig,
  { own, log, ...context }: ReplicasOptions,
): Replicas {
  const serverName = config.tls.serverName ?? config.dns
  const tlsConfig = { ...config.tls, verify: true, ...(serverName && { serverName }) }
  const tls = readTlsProfile(tlsConfig, 'replicas.tls', new Map())
  const members = createMembers(config, { own, log })
  const clients = new Map<string, Upstream>()
  const rests = createRests(firstRest, longestRest, context.now)

  function clientOf(member: string): Upstream {
    const client = clients.get(member) ?? createReplicaClient(member, tls, context)
    clients.set(member, client)
    return client
  }

  /** Those that have gone are not asked any more, and what is under way with them ends. */
  function forgetOthers(all: readonly string[]): void {
    for (const [member, { agents }] of clients) {
      if (all.includes(member)) continue
      clients.delete(member)
      rests.forget(member)
      void agents.close()
    }
  }

  function candidate(member: string, request: OriginRequest): EndpointCandidate {
    const askedAt = context.now()
    return {
      isReplica: true,
      open: (receiver) =>
        openExchange(
          { ...clientOf(member), namespace: request.upstream },
          request,
          receiver,
          false,
        ),
      onAnswer: () => rests.answered(member, askedAt),
      distrust: () => rests.distrusted(member),
      onFailure({ reason, blame: { status } }) {
        // What it says of its upstream is nothing of its own, and what is lacking here neither.
        const isItsOwn = status === undefined || status === 401 || status === 403
        if (!isItsOwn || reason === 'no_descriptors') return
        // These cost next to nothing, and are how one looks that is started anew.
        if (reason === 'refused' || reason === 'reset') rests.failed(member)
        else rests.distrusted(member)
      },
    }
  }

  return {
    candidates(request) {
      const { upstream, repository, resource, url, isOfReplica } = request
      if (isOfReplica === true || url !== undefined || repository === '') return []
      const all = members.all()
      forgetOthers(all)
      const order = rank(all, ownedKey(upstream, repository, resource))
      const self = members.self()
      const place = self === undefined ? -1 : order.indexOf(self)
      const others = place < 0 ? order : order.slice(0, place)
      return others
        .filter((member) => !rests.isResting(member))
        .slice(0, mostAsked)
        .map((member) => candidate(member, request))
    },
    start() {
      for (const { path, message } of tls.warnings) log.warn(`${path} ${message}`)
      members.start()
    },
    expiries: tls.expiries,
    async close() {
      members.close()
      await Promise.all([...clients.values()].map(({ agents }) => agents.close()))
    },
  }
}
