// Asks other replicas all at once whether they have something, which makes none of them fetch it, and has it
// from the first one that does.
import { GatewayError } from '../../errors.ts'
import {
  createSuccessiveFlow,
  type AtHand,
  type OriginRequest,
  type Receiver,
} from '../../oci/origin.ts'
import { apiAddress } from '../api-address.ts'
import { attempt, requestOptions } from '../attempt.ts'
import type { EndpointCandidate } from '../endpoints/failover.ts'
import { openExchange, type Upstream } from '../exchange.ts'
import { failureOfError } from '../failure.ts'
import { createFlow } from '../flow.ts'

/** A replica that may have it. */
export interface Other extends Pick<EndpointCandidate, 'onAnswer' | 'onFailure' | 'distrust'> {
  client: Upstream
  /** It is asked now. */
  onAsked: () => void
  /** It has not answered in time. */
  onLate: () => void
}

/** Whoever takes longer than that to look hangs, or has more to do than to send it, ms. */
const lookPatience = 5000

/** @param others whom to ask, once it comes to that */
export function lookAround(
  others: () => readonly Other[],
  request: OriginRequest,
): EndpointCandidate {
  let holder: Other | undefined

  return {
    isReplica: true,
    open(receiver) {
      const flow = createSuccessiveFlow()
      const take = async (): Promise<void> => {
        const first = await firstHolder(others(), request)
        if (flow.isAborted) return
        if (first === undefined) return receiver.fail(nobodyHasIt())
        holder = first.other
        const client = { ...holder.client, onlyIfCached: first.found === 'here' }
        const exchange = openExchange(client, request, receiver, false)
        flow.use(exchange.flow)
        return exchange.ended
      }
      return { flow, ended: take() }
    },
    onAnswer: (response) => holder?.onAnswer(response),
    onFailure: (error) => holder?.onFailure(error),
    distrust: () => holder?.distrust(),
  }
}

function nobodyHasIt(): GatewayError {
  return new GatewayError('UPSTREAM_FAILED', 'no other replica has it')
}

interface Holder {
  other: Other
  found: AtHand
}

/** Never rejects. */
async function firstHolder(
  others: readonly Other[],
  request: OriginRequest,
): Promise<Holder | undefined> {
  const looks = others.map(async (other): Promise<Holder> => {
    return { other, found: await lookAt(other, request, lookPatience) }
  })
  const here = looks.map(async (looked) => {
    const holder = await looked
    if (holder.found !== 'here') throw nobodyHasIt()
    return holder
  })
  return Promise.any(here).catch(async () =>
    (await Promise.all(looks)).find(({ found }) => found === 'elsewhere'),
  )
}

/**
 * Asks one whether it has something; undefined also where it cannot be asked. Never rejects.
 * @param patience ms
 */
export async function lookAt(
  other: Other,
  request: Pick<OriginRequest, 'upstream' | 'repository' | 'resource' | 'requestId'>,
  patience: number,
): Promise<AtHand> {
  const { client, onAsked, onAnswer, onFailure, onLate } = other
  const { upstream, repository, resource, requestId } = request
  const url = apiAddress(client.url, `${repository}/${resource}`, client.namespace)
  const options = requestOptions(
    { ...client, onlyIfCached: true },
    // It goes no further, so that it need not tell where it comes from.
    { upstream, repository, resource, requestId, method: 'HEAD' },
    { url, authorization: undefined, hasLeft: false },
  )
  const flow = createFlow()
  const late = setTimeout(() => {
    onLate()
    flow.abort()
  }, patience)
  let found: AtHand
  const receiver: Receiver = {
    start(response) {
      onAnswer(response)
      const isFree = response.headers['cache-control'] !== 'no-cache'
      if (response.status === 200) found = isFree ? 'here' : 'elsewhere'
    },
    data: () => undefined,
    end: () => undefined,
    fail: () => undefined,
  }
  const { own, limits } = client.agents
  onAsked()
  const begun = performance.now()
  const outcome = await attempt(own, options, { flow, receiver, limits })
  clearTimeout(late)
  const seconds = (performance.now() - begun) / 1000
  const sample = { upstream: client.name, method: 'HEAD', seconds }
  if (outcome.kind !== 'broken') {
    client.onAttempt({ ...sample, outcome: 'ok', status: outcome.status })
    return found
  }
  const { error, reason } = failureOfError(client.subject, outcome.error)
  if (!flow.isAborted) onFailure(error)
  client.onAttempt({ ...sample, outcome: 'error', reason: flow.isAborted ? 'timeout' : reason })
  return undefined
}
