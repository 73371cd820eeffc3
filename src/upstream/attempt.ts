// One HTTP request. What is content goes from the socket to the receiver at once, without a stream
// or a promise in between; anything else is collected for the exchange to judge.
import type { Dispatcher } from 'undici'
import { collectBody } from '../oci/body-collector.ts'
import type { OriginRequest, Receiver } from '../oci/origin.ts'
import { clientHeader, replicaHeader, replicaVersions, viaHeader } from '../oci/via.ts'
import type { Answer } from './failure.ts'
import type { ExchangeFlow } from './flow.ts'
import { createPatience, type TimeLimits } from './transport/patience.ts'

export type Outcome =
  /** The receiver has had all of it. */
  | { kind: 'delivered'; status: number }
  | Answer
  /** `hasBegun`: the receiver has been told of a response already. */
  | { kind: 'broken'; error: unknown; hasBegun: boolean }

const contentStatuses: ReadonlySet<number> = new Set([200, 206, 304, 404, 405, 416])

/** Of an answer that is no content this much is of interest, bytes. */
const largestAnswer = 16 * 1024

/** A 200 that a proxy on the way has changed, RFC 9110, section 15.3.4: digests say whether it is what it was. */
const modified = 203

/** Whom one request goes to, and with what. */
interface Asked {
  url: URL
  authorization: string | undefined
  hasLeft: boolean
}

/** In whose name it is sent, and how; see `Upstream`. */
interface Asker {
  userAgent: string
  pseudonym: string
  isReplica?: boolean
  isWorker?: boolean
  onlyIfCached?: boolean
}

const lookingOnly = {
  [replicaHeader]: replicaVersions.looking,
  'cache-control': 'only-if-cached',
}

/** `hasLeft`: whoever is asked now is not the registry, and none of the gateways' business. */
export function requestOptions(
  { userAgent, pseudonym, isReplica = false, isWorker = false, onlyIfCached = false }: Asker,
  { method, accept, from, to, unless, via = [], requestId, client }: OriginRequest,
  { url, authorization, hasLeft }: Asked,
  traceparent?: string,
): Dispatcher.DispatchOptions {
  return {
    origin: url.origin,
    path: url.pathname + url.search,
    method,
    headers: {
      'user-agent': userAgent,
      // Bytes are wanted as they hash; without this header some compress what they send.
      'accept-encoding': 'identity',
      ...(hasLeft ? {} : { via: viaHeader([...via, pseudonym]) }),
      ...(requestId === undefined || hasLeft ? {} : { 'x-request-id': requestId }),
      ...(traceparent === undefined || hasLeft ? {} : { traceparent }),
      ...(isReplica && !hasLeft ? { [replicaHeader]: replicaVersions.fetching } : {}),
      ...(onlyIfCached ? lookingOnly : {}),
      ...(isWorker && client !== undefined ? { [clientHeader]: encodeURIComponent(client) } : {}),
      ...(accept === undefined ? {} : { accept }),
      ...(from === undefined ? {} : { range: `bytes=${from}-${to === undefined ? '' : to - 1}` }),
      ...(unless === undefined ? {} : { 'if-none-match': `"${unless}"` }),
      ...(authorization === undefined ? {} : { authorization }),
    },
    // undici would close the connection after each HEAD, and a tag costs one every few minutes.
    reset: false,
  }
}

interface AttemptOptions {
  flow: ExchangeFlow
  receiver: Receiver
  limits: TimeLimits
  /** What comes is of use as it comes, however slowly: a blob. */
  isGradual?: boolean
}

/** Never rejects. After an abort the receiver hears nothing more, and the outcome is `broken`. */
export function attempt(
  dispatcher: Dispatcher,
  request: Dispatcher.DispatchOptions,
  { flow, receiver, limits, isGradual = false }: AttemptOptions,
): Promise<Outcome> {
  return new Promise((resolve) => {
    const patience = createPatience(limits)
    const body = collectBody(largestAnswer)
    let answer: Answer | undefined
    let deliveredStatus: number | undefined

    const finish = (): void => {
      if (answer !== undefined) resolve({ ...answer, body: body.bytes().toString('utf8') })
    }

    dispatcher.dispatch(request, {
      onRequestStart(controller) {
        patience.asked()
        flow.attach(controller)
      },
      onResponseStart(controller, told, headers) {
        if (flow.isAborted) return
        const status = told === modified ? 200 : told
        if (status < 200) return patience.interim(controller)
        const flat = flatHeaders(headers)
        if (contentStatuses.has(status)) {
          deliveredStatus = status
          flow.deliver(controller)
          receiver.start({ status, headers: flat })
        } else {
          answer = { kind: 'answer', status, headers: flat, body: '' }
        }
        patience.begun(controller)
      },
      onResponseData(controller, chunk) {
        if (flow.isAborted) return
        if (deliveredStatus !== undefined) {
          receiver.data(chunk)
          if (!isGradual && !flow.isAborted) patience.received(controller, chunk.length)
          return
        }
        patience.received(controller, chunk.length)
        if (body.add(chunk) < largestAnswer) return
        finish()
        controller.abort(new Error('the rest is of no interest'))
      },
      onResponseEnd() {
        if (deliveredStatus === undefined) return finish()
        resolve({ kind: 'delivered', status: deliveredStatus })
        if (!flow.isAborted) receiver.end()
      },
      onResponseError: (_controller, error) => {
        // The status is worth more than how the body of an error page ended.
        if (answer !== undefined) finish()
        else resolve({ kind: 'broken', error, hasBegun: deliveredStatus !== undefined })
      },
    })
  })
}

function flatHeaders(headers: Record<string, string | string[] | undefined>) {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      // What is said twice in the same words is said once.
      Array.isArray(value) ? [...new Set(value)].join(', ') : (value ?? ''),
    ]),
  )
}
