// The endpoints of one upstream: which of them is asked, how each has fared, what that comes to.
import type { GatewayError } from '../../errors.ts'
import { scopeOf } from '../../oci/failure-scope.ts'
import type { OriginRequest, OriginResponse, Receiver } from '../../oci/origin.ts'
import { openExchange, type Upstream } from '../exchange.ts'
import type { Mode } from '../tls.ts'
import { openFirst, type EndpointCandidate, type UpstreamExchange } from './failover.ts'
import { isShort, quotaIn, type Quota } from './quota.ts'

/** What an operator wants to know of one endpoint. */
export interface EndpointStatus {
  url: string
  /** It is another gateway, asked with `?ns=`. */
  gateway: boolean
  /** How the config lets it be asked; `plain` without TLS. */
  mode: Mode | 'plain'
  /** While it is passed over for the next one: until when, ms since 1970. */
  restsUntil?: number
  lastFailure?: LastFailure
  /** As it was told last. */
  quota?: Quota
}

export interface LastFailure {
  /** ms since 1970. */
  at: number
  /** A word of docs/reference/errors.md. */
  reason: string
  /** One sentence, with the key to check. */
  message: string
  /** What went wrong underneath. */
  cause?: string
}

export interface Endpoints {
  /** `before`: others that are asked first. */
  open: (
    request: OriginRequest,
    receiver: Receiver,
    before?: readonly EndpointCandidate[],
  ) => UpstreamExchange
  /** In the order of the config. */
  status: () => EndpointStatus[]
  /** The one that is asked first now. */
  inUse: () => EndpointStatus
  /** Whether fewer pulls than `floor` are left there. */
  isQuotaShort: (floor: number) => boolean
}

export interface EndpointClient {
  client: Upstream
  mode: EndpointStatus['mode']
  lastFailure: () => LastFailure | undefined
}

/** How long one that failed is passed over for another, ms. */
const restMs = 30_000

/** @param clients at least one, in the order in which they are to be asked */
export function createEndpoints(clients: readonly EndpointClient[], now: () => number): Endpoints {
  const restFor = clients.length > 1 ? restMs : 0
  const endpoints = clients.map((client) => createEndpoint(client, restFor, now))

  /** Those that rest come last: better than nobody. */
  function inOrder() {
    const [resting, others] = [true, false].map((rests) =>
      endpoints.filter((endpoint) => endpoint.isResting() === rests),
    )
    return [...(others ?? []), ...(resting ?? [])]
  }

  const first = () => inOrder()[0] as (typeof endpoints)[number]
  return {
    open(request, receiver, before = []) {
      // The address of a foreign layer is that of nobody's endpoint.
      const asked = request.url === undefined ? inOrder() : endpoints.slice(0, 1)
      return openFirst(
        [...before, ...asked.map((endpoint) => endpoint.candidate(request))],
        receiver,
      )
    },
    status: () => endpoints.map((endpoint) => endpoint.status()),
    inUse: () => first().status(),
    isQuotaShort: (floor) => first().isQuotaShort(floor),
  }
}

function createEndpoint(
  { client, mode, lastFailure }: EndpointClient,
  restFor: number,
  now: () => number,
) {
  /** 0: it is well, as far as it is known. */
  let restsUntil = 0
  let distrustedAt = -Infinity
  let quota: Quota | undefined

  function isResting(): boolean {
    const left = restsUntil - now()
    // After a clock that was set back nobody knows how long it was.
    return left > 0 && left <= restFor
  }

  /** A failure during a rest does not make it longer. */
  function rest(): void {
    if (!isResting()) restsUntil = now() + restFor
  }

  function distrust(): void {
    distrustedAt = now()
    rest()
  }

  function onAnswer(request: OriginRequest, response: OriginResponse, askedAt: number): void {
    // Who sends what is of no use answers well, too: only what is asked afterwards says how it is.
    if (askedAt > distrustedAt) restsUntil = 0
    // Blobs may come from elsewhere.
    if (request.resource.startsWith('manifests/')) quota = quotaIn(response, now()) ?? quota
  }

  function onFailure(error: GatewayError): void {
    if (error.code === 'TOOMANYREQUESTS' && quota !== undefined) {
      quota = { ...quota, remaining: 0, at: now() }
    }
    if (scopeOf(error) !== 'request' && error.blame.host === undefined) rest()
  }

  return {
    isResting,
    isQuotaShort: (floor: number) => isShort(quota, floor, now()),
    candidate(request: OriginRequest): EndpointCandidate {
      const askedAt = now()
      return {
        open(receiver, mayRetry) {
          // After a rest one request finds out how it is; others go elsewhere until it has.
          if (restsUntil > 0 && !isResting()) restsUntil = now() + restFor
          if (request.way) Object.assign(request.way, { isOwn: true, hasBeenOwn: true })
          return openExchange(client, request, receiver, mayRetry)
        },
        onAnswer: (response) => onAnswer(request, response, askedAt),
        onFailure,
        // The address of a foreign layer is somebody else's.
        distrust: request.url === undefined ? distrust : () => undefined,
      }
    },
    status(): EndpointStatus {
      const failure = lastFailure()
      return {
        url: client.url.href.replace(/\/$/, ''),
        gateway: client.namespace !== undefined,
        mode,
        ...(isResting() ? { restsUntil } : {}),
        ...(failure === undefined ? {} : { lastFailure: failure }),
        ...(quota === undefined ? {} : { quota }),
      }
    },
  }
}
