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
import { lookAround, type Other } from './looking.ts'
import { createMembers, type OwnAddress } from './members.ts'
import { digestAsked, ownedKey, rank } from './ranking.ts'
import { createRests } from './rests.ts'

export interface Replicas {
  /**
   * Those that are asked before this gateway asks the upstream. To fetch it: the owner, and one that would be
   * if it were not there; none where this gateway is the owner, or another replica asks. And for what is
   * content with a digest all others whether they have it.
   */
  candidates: (request: OriginRequest) => EndpointCandidate[]
  /** Tells what should not be left so, and begins to follow who they are; once it is in use. */
  start: () => void
  expiries: readonly Expiry[]
  close: () => Promise<void>
}

/** More are not asked to fetch something: the upstream is there for all of them. */
const mostAsked = 2
/** More are not asked whether they have it. */
const mostLooked = 8

/**
 * How long one that breaks off is passed over, and how long one that takes its time to fail, ms. One that refuses
 * connections is asked as before: that costs next to nothing, and it may be back at any moment.
 */
const [briefRest, longRest] = [250, 5000]

/**
 * Somebody waits, so that one that hangs must not cost more than this, ms. But whoever is passed over has its
 * content fetched once more, and where processors are short a handshake alone takes seconds.
 */
const patience = { connectTimeout: 5000, headersTimeout: 10_000, stallTimeout: 10_000 }

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

/** How each of them is asked, and how it fares. */
function createOthers(tls: TlsProfile, context: ClientContext) {
  const clients = new Map<string, Upstream>()
  const rests = createRests(briefRest, longRest, context.now)

  function clientOf(member: string): Upstream {
    const client = clients.get(member) ?? createReplicaClient(member, tls, context)
    clients.set(member, client)
    return client
  }

  function other(member: string, { upstream, way }: OriginRequest): Other {
    const askedAt = context.now()
    const onLate = () => {
      way?.tooSlow.add(member)
      rests.late(member, askedAt)
    }
    return {
      client: { ...clientOf(member), namespace: upstream },
      onAsked: () => rests.asked(member),
      onAnswer: () => rests.answered(member, askedAt),
      onLate,
      distrust: () => rests.distrusted(member),
      onFailure({ reason, blame: { status } }) {
        // What it says of its upstream is nothing of its own, and what is lacking here neither.
        const isItsOwn = status === undefined || status === 401 || status === 403
        if (!isItsOwn || reason === 'no_descriptors' || reason === 'refused') return
        if (reason === 'reset' || reason === 'truncated') rests.failed(member)
        else if (reason === 'timeout' || reason === 'stall') onLate()
        else rests.distrusted(member)
      },
    }
  }

  return {
    other,
    toFetch: (member: string, request: OriginRequest): EndpointCandidate => {
      const { client, onAsked, onAnswer, onFailure, distrust } = other(member, request)
      return {
        isReplica: true,
        open(receiver) {
          onAsked()
          return openExchange(client, request, receiver, false)
        },
        onAnswer,
        onFailure,
        distrust,
      }
    },
    mayBeAsked: (member: string, { way }: OriginRequest): boolean =>
      !rests.isResting(member) && way?.tooSlow.has(member) !== true,
    /** Those that have gone are not asked any more, and what is under way with them ends. */
    forgetAllBut(members: readonly string[]): void {
      for (const [member, { agents }] of clients) {
        if (members.includes(member)) continue
        clients.delete(member)
        rests.forget(member)
        void agents.close()
      }
    },
    async close(): Promise<void> {
      await Promise.all([...clients.values()].map(async ({ agents }) => agents.close()))
    },
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
  const { other, toFetch, mayBeAsked, ...others } = createOthers(tls, context)

  return {
    candidates(request) {
      const { upstream, repository, resource, url, isOfReplica, way } = request
      if (url !== undefined || repository === '') return []
      const all = members.all()
      others.forgetAllBut(all)
      const order = rank(all, ownedKey(upstream, repository, resource))
      const self = members.self()
      const place = self === undefined ? -1 : order.indexOf(self)
      const isOwn = isOfReplica === true || way?.hasBeenOwn === true
      const owners = isOwn ? [] : order.slice(0, place < 0 ? order.length : place)
      const asked = owners.filter((member) => mayBeAsked(member, request)).slice(0, mostAsked)
      const fetching = asked.map((member) => toFetch(member, request))
      const rest = order.filter((member) => member !== self && !asked.includes(member))
      if (way === undefined || digestAsked(resource) === undefined) return fetching
      const looking = () =>
        rest
          .filter((member) => mayBeAsked(member, request))
          .slice(0, mostLooked)
          .map((member) => other(member, request))
      return rest.length === 0 ? fetching : [...fetching, lookAround(looking, request)]
    },
    start() {
      for (const { path, message } of tls.warnings) log.warn(`${path} ${message}`)
      members.start()
    },
    expiries: tls.expiries,
    async close() {
      members.close()
      await others.close()
    },
  }
}
