// One request to an upstream and its whole answer, without a retry, a redirect or an authorization
// that the caller has not given: what a diagnosis asks with.
import { collectBody } from '../../oci/body-collector.ts'
import type { Receiver } from '../../oci/origin.ts'
import { apiAddress } from '../api-address.ts'
import { attempt, type Outcome } from '../attempt.ts'
import type { Upstream } from '../exchange.ts'
import { failureOfError, type Answer, type Failure } from '../failure.ts'
import { createFlow, type ExchangeFlow } from '../flow.ts'

export interface Question {
  method: 'GET' | 'HEAD'
  /** Below `/v2/`, such as `_catalog?n=10`. */
  path: string
  accept?: string
  authorization?: string
}

export interface Reply {
  result: Answer | Failure
  /** From the moment that the connection was there, ms. */
  ms: number
}

/** Of a body this much is kept, bytes. */
const largest = 1024 * 1024

/** Never rejects. Any status is an answer. */
export async function inquire(upstream: Upstream, question: Question): Promise<Reply> {
  const { method, path, accept, authorization } = question
  const url = apiAddress(upstream.url, path, upstream.namespace)
  const flow = createFlow()
  let begun = performance.now()
  const timed: ExchangeFlow = {
    ...flow,
    get isAborted() {
      return flow.isAborted
    },
    attach: (controller) => {
      begun = performance.now()
      flow.attach(controller)
    },
  }
  const { receiver, collected } = collector(() => flow.abort())
  const options = {
    origin: url.origin,
    path: url.pathname + url.search,
    method,
    headers: {
      'user-agent': upstream.userAgent,
      'accept-encoding': 'identity',
      ...(accept === undefined ? {} : { accept }),
      ...(authorization === undefined ? {} : { authorization }),
    },
    reset: false,
  }
  const { own, limits } = upstream.agents
  const outcome = await attempt(own, options, { flow: timed, receiver, limits })
  return { result: resultOf(upstream, outcome, collected()), ms: performance.now() - begun }
}

function resultOf(
  upstream: Upstream,
  outcome: Outcome,
  content: Answer | undefined,
): Answer | Failure {
  if (outcome.kind === 'answer') return outcome
  if (content !== undefined) return content
  return failureOfError(upstream.subject, outcome.kind === 'broken' ? outcome.error : undefined)
}

function collector(enough: () => void): {
  receiver: Receiver
  collected: () => Answer | undefined
} {
  const body = collectBody(largest)
  let head: Pick<Answer, 'status' | 'headers'> | undefined
  return {
    receiver: {
      start: (response) => {
        head = response
      },
      data: (chunk) => {
        if (body.add(chunk) > largest) enough()
      },
      end() {},
      fail() {},
    },
    collected: () => head && { kind: 'answer', ...head, body: body.bytes().toString('utf8') },
  }
}
