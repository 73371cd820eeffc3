// Shares the requests to upstreams among those on whose behalf they are made: nobody has all of
// them, and of those that wait, each client has its turn.
import { GatewayError } from '../errors.ts'
import {
  createFailedFlow,
  createSuccessiveFlow,
  withEnd,
  type Flow,
  type OpenUpstream,
  type OriginRequest,
  type Receiver,
} from '../oci/origin.ts'

export interface FairQueueOptions {
  openUpstream: OpenUpstream
  limits: () => {
    /** Requests to one upstream that are under way. */
    upstreamRequests: number
    /** Requests of one client that are under way or waiting. */
    upstreamRequestsPerIdentity: number
  }
  /** Counts a refusal by a word of a small set. */
  onRefusal: (reason: string) => void
}

/** What is under way and what waits at one upstream. */
interface Lane {
  running: number
  /** In the order of their turns: whoever has had one goes to the end. */
  clients: Map<string, { running: number; waiting: Set<() => void> }>
}

/**
 * Like `openUpstream`, in turns. A client may have as many requests under way as there are free
 * places, so that alone it has half of them and another finds some at once. Requests on nobody's
 * behalf share one turn. Too many of one client fail with TOOMANYREQUESTS.
 */
export function createFairQueue(options: FairQueueOptions): OpenUpstream {
  const { openUpstream, limits, onRefusal } = options
  const lanes = new Map<string, Lane>()
  const totals = new Map<string, number>()

  function startNext(upstream: string, lane: Lane): void {
    for (const [name, client] of lane.clients) {
      const free = limits().upstreamRequests - lane.running
      if (free <= 0) return
      if (client.running > 0 && client.running >= free) continue
      const [start] = client.waiting
      if (start === undefined) continue
      client.waiting.delete(start)
      client.running += 1
      lane.running += 1
      lane.clients.delete(name)
      lane.clients.set(name, client)
      start()
      startNext(upstream, lane)
      return
    }
    if (lane.running === 0 && lane.clients.size === 0) lanes.delete(upstream)
  }

  function leave(upstream: string, lane: Lane, name: string, start: () => void): void {
    const client = lane.clients.get(name)
    if (client === undefined) return
    if (!client.waiting.delete(start)) {
      client.running -= 1
      lane.running -= 1
    }
    if (client.running === 0 && client.waiting.size === 0) lane.clients.delete(name)
    const total = (totals.get(name) ?? 1) - 1
    if (total === 0) totals.delete(name)
    else totals.set(name, total)
    startNext(upstream, lane)
  }

  function wait(request: OriginRequest, receiver: Receiver, name: string): Flow {
    const { upstream } = request
    const lane = lanes.get(upstream) ?? { running: 0, clients: new Map() }
    lanes.set(upstream, lane)
    const client = lane.clients.get(name) ?? { running: 0, waiting: new Set() }
    lane.clients.set(name, client)
    const { start, flow } = openLater(openUpstream, request, receiver, () =>
      leave(upstream, lane, name, start),
    )
    client.waiting.add(start)
    startNext(upstream, lane)
    return flow
  }

  return (request, receiver) => {
    const name = request.client ?? ''
    const total = totals.get(name) ?? 0
    if (request.client !== undefined && total >= limits().upstreamRequestsPerIdentity) {
      onRefusal('too_many_upstream_requests')
      return createFailedFlow(tooMany(), receiver)
    }
    totals.set(name, total + 1)
    return wait(request, receiver, name)
  }
}

/** An exchange that begins with `start`; `onOver` is called once, when it has ended in any way. */
function openLater(
  openUpstream: OpenUpstream,
  request: OriginRequest,
  receiver: Receiver,
  onOver: () => void,
): { start: () => void; flow: Flow } {
  const hand = createSuccessiveFlow()
  let isOver = false

  function over(): void {
    if (isOver) return
    isOver = true
    onOver()
  }

  function start(): void {
    hand.use(openUpstream(request, withEnd(receiver, over)))
  }

  return {
    start,
    flow: {
      pause: () => hand.pause(),
      resume: () => hand.resume(),
      abort() {
        over()
        hand.abort()
      },
    },
  }
}

function tooMany(): GatewayError {
  return new GatewayError(
    'TOOMANYREQUESTS',
    'too much of this client is on its way from upstream',
    {
      headers: { 'retry-after': '5' },
      reason: 'too_many_upstream_requests',
    },
  )
}
