// Asks the worker of this gateway that owns something before this one asks the upstream itself.
import type { GatewayError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import type { AtHand, OpenUpstream, OriginRequest, OriginResponse } from '../../oci/origin.ts'
import type { Place } from '../../oci/place.ts'
import { createSocketAgents } from '../agents.ts'
import { createUpstream, userAgent, type ClientContext } from '../endpoints/client.ts'
import { openFirst, type EndpointCandidate } from '../endpoints/failover.ts'
import { openExchange, type Upstream } from '../exchange.ts'
import { lookAt, type Other } from '../replicas/looking.ts'
import { digestAsked, rank } from '../replicas/ranking.ts'
import { createRests } from '../replicas/rests.ts'

export interface Siblings {
  /** As the upstream is; the worker that owns what is wanted is asked first. */
  before: (openUpstream: OpenUpstream) => OpenUpstream
  /** Whether the worker that owns it has it, or is fetching it; undefined where this one is that. */
  look: (place: Place, digest: Digest, kind: 'blob' | 'manifest') => Promise<AtHand>
  close: () => Promise<void>
}

export interface SiblingsOptions {
  /** Of each worker, in the order of their numbers, which begin at 1. */
  sockets: readonly string[]
  /** The number of this one. */
  self: number
  /** What this worker calls itself to others. */
  pseudonym: string
  now?: () => number
}

/** How long one that cannot be asked is passed over, ms: about what another needs to take its place. */
const restFor = 1000

/** One that is gone says so at once. One that hangs is ended, and what it was asked ends with it, ms. */
const patience = { connectTimeout: 1000, headersTimeout: 60_000, stallTimeout: 120_000 }

/** Another replica waits, and asks all others meanwhile, ms. */
const lookPatience = 1000

export function createSiblings(options: SiblingsOptions): Siblings {
  const { sockets, self, pseudonym, now = Date.now } = options
  const names = sockets.map((_socket, index) => nameOf(index + 1))
  const clients = new Map<string, Upstream>()
  const rests = createRests(restFor, restFor, now)
  for (const [index, socket] of sockets.entries()) {
    if (index + 1 === self) continue
    clients.set(nameOf(index + 1), createClient(index + 1, socket, { pseudonym, now }))
  }

  /**
   * Those that come before this one in the order of owners. What tags mean is in the index of all, with its
   * age: an answer of another worker would have none, and be taken for a new one.
   */
  function candidates(request: OriginRequest): EndpointCandidate[] {
    const { upstream, resource, url, isOfWorker, isOfReplica, way } = request
    const digest = digestAsked(resource)
    if (isOfWorker === true || url !== undefined || digest === undefined) return []
    if (way?.hasBeenOwn === true) return []
    const order = rank(names, digest)
    return order.slice(0, order.indexOf(nameOf(self))).flatMap((name) => {
      const other = sibling(name, upstream)
      if (other === undefined) return []
      const client = { ...other.client, isReplica: isOfReplica === true }
      return {
        ...other,
        isReplica: true,
        open: (receiver) => openExchange(client, request, receiver, false),
      } satisfies EndpointCandidate
    })
  }

  /** undefined: it is this one, or not to be asked now. */
  function sibling(name: string, namespace: string) {
    const client = clients.get(name)
    if (client === undefined || rests.isResting(name)) return undefined
    const askedAt = now()
    return {
      client: { ...client, namespace },
      onAsked: () => rests.asked(name),
      onAnswer: () => rests.answered(name, askedAt),
      onLate: () => rests.late(name, askedAt),
      distrust: () => rests.distrusted(name),
      onFailure({ blame: { status } }: GatewayError) {
        // What it says of the upstream is nothing of its own.
        if (status === undefined) rests.distrusted(name)
      },
    } satisfies Other
  }

  return {
    before: (openUpstream) => (request, receiver) => {
      const others = candidates(request)
      if (others.length === 0) return openUpstream(request, receiver)
      return openFirst([...others, ownWay(openUpstream, request)], receiver).flow
    },
    async look({ upstream, repository, requestId }, digest, kind) {
      const [owner = ''] = rank(names, digest)
      const other = sibling(owner, upstream)
      if (other === undefined) return undefined
      const resource = `${kind}s/${digest}`
      return lookAt(other, { upstream, repository, resource, requestId }, lookPatience)
    },
    async close() {
      await Promise.all([...clients.values()].map(async ({ agents }) => agents.close()))
    },
  }
}

function createClient(
  number: number,
  socket: string,
  { pseudonym, now }: Pick<ClientContext, 'pseudonym' | 'now'>,
): Upstream {
  const config = {
    url: `http://${nameOf(number)}`,
    gateway: true,
    auth: { fallback: 'none' as const, realms: [] },
    redirects: [],
    foreignLayers: 'refuse' as const,
    ...patience,
  }
  const quiet = () => undefined
  const client = createUpstream(
    {
      name: 'workers',
      at: 'workers',
      config,
      credentials: undefined,
      tls: { hasClientCertificate: false },
      agents: createSocketAgents(patience, socket),
    },
    {
      metrics: { attempt: quiet, badAnswer: quiet },
      logFailure: quiet,
      userAgent: userAgent(),
      pseudonym,
      now,
    },
  )
  return { ...client, isWorker: true }
}

/** By itself, where no other worker can be asked. */
function ownWay(openUpstream: OpenUpstream, request: OriginRequest): EndpointCandidate {
  let sender: OriginResponse | undefined
  return {
    open(receiver) {
      const start = (response: OriginResponse) => {
        sender = response
        receiver.start(response)
      }
      const flow = openUpstream(request, { ...receiver, start })
      return { flow, ended: Promise.resolve() }
    },
    onAnswer: () => undefined,
    onFailure: () => undefined,
    distrust: () => sender?.distrust?.(),
  }
}

function nameOf(number: number): string {
  return `worker-${number}`
}
