// One exchange at the first of several endpoints that can be asked.
import type { GatewayError } from '../../errors.ts'
import { collectBody } from '../../oci/body-collector.ts'
import { isOfRegistry } from '../../oci/error-body.ts'
import { isOutage, isRefusal } from '../../oci/failure-scope.ts'
import {
  createSuccessiveFlow,
  type Flow,
  type OriginResponse,
  type Receiver,
} from '../../oci/origin.ts'

export interface UpstreamExchange {
  flow: Flow
  /** Resolves, and never rejects, when nothing more is asked. */
  ended: Promise<void>
}

/** An endpoint that may be asked. */
export interface EndpointCandidate {
  /** It is another replica: where it fails or refuses, whatever that is about, the next one is asked. */
  isReplica?: boolean
  /** `mayRetry`: nobody else is left, and it may be well in a moment. */
  open: (receiver: Receiver, mayRetry: boolean) => UpstreamExchange
  onAnswer: (response: OriginResponse) => void
  onFailure: (error: GatewayError) => void
  /** What it has answered is of no use. */
  distrust: () => void
}

/**
 * Asks the candidates in turn until one answers; the receiver hears of that one, or the failure of the
 * last. One that breaks off later ends the exchange: whoever wants the rest asks for it, with a Range.
 */
export function openFirst(
  candidates: readonly EndpointCandidate[],
  receiver: Receiver,
): UpstreamExchange {
  const flow = createSuccessiveFlow()
  let ended = Promise.resolve()

  function ask([candidate, ...others]: readonly EndpointCandidate[]): void {
    if (candidate === undefined || flow.isAborted) return
    let hasBegun = false
    const told: Receiver = {
      start(response) {
        hasBegun = true
        candidate.onAnswer(response)
        receiver.start({ ...response, distrust: candidate.distrust })
      },
      data: (chunk) => receiver.data(chunk),
      end: () => receiver.end(),
      fail(error) {
        candidate.onFailure(error)
        const isFinal = candidate.isReplica !== true && isAnswer(error)
        if (hasBegun || others.length === 0 || isFinal) receiver.fail(error)
        else ask(others)
      },
    }
    const isLast = others.length === 0
    const judged = isLast
      ? told
      : holdingStray404(told, {
          isReplica: candidate.isReplica === true,
          isAborted: () => flow.isAborted,
          onStray: () => ask(others),
        })
    const exchange = candidate.open(judged, isLast)
    ended = exchange.ended
    flow.use(exchange.flow)
  }

  async function allEnded(): Promise<void> {
    let last: Promise<void> | undefined
    while (last !== ended) {
      last = ended
      await last
    }
  }

  ask(candidates)
  return { ended: allEnded(), flow }
}

/** Of a 404 this much is of interest, bytes. */
const mostHeld = 16 * 1024

/** Calls `onStray` in the place of the receiver where a 404 is not that of a registry. */
function holdingStray404(
  receiver: Receiver,
  options: { isReplica: boolean; isAborted: () => boolean; onStray: () => void },
): Receiver {
  const { isReplica, isAborted, onStray } = options
  let held: OriginResponse | undefined
  const body = collectBody(mostHeld)

  return {
    start(response) {
      if (response.status === 404) held = response
      else receiver.start(response)
    },
    data(chunk) {
      if (held === undefined) receiver.data(chunk)
      else body.add(chunk)
    },
    end() {
      if (held !== undefined) {
        const { headers } = held
        const bytes = body.bytes()
        // One that has another config says that there is no such upstream.
        const isUnknownThere = isReplica && bytes.includes('"NAME_UNKNOWN"')
        if (isUnknownThere || !isOfRegistry({ headers, body: bytes })) return onStray()
        receiver.start(held)
        if (!isAborted()) receiver.data(bytes)
      }
      if (!isAborted()) receiver.end()
    },
    fail: (error) => receiver.fail(error),
  }
}

/** A refusal of what was asked for: another endpoint would be a way around it. */
function isAnswer(error: GatewayError): boolean {
  return !isOutage(error) && !isRefusal(error)
}
