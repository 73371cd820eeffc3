// Short exchanges with an upstream: answers that are wanted as a whole, or for their headers alone.
import { setTimeout as wait } from 'node:timers/promises'
import { GatewayError } from '../errors.ts'
import { collectBody } from '../oci/body-collector.ts'
import type { OpenUpstream, OriginRequest, OriginResponse } from '../oci/origin.ts'
import { isOutage } from '../oci/failure-scope.ts'
import { answerBudget } from '../oci/attempts.ts'

/** Of an error this much is of interest, bytes. */
const errorLimit = 16 * 1024

export interface CollectedAnswer extends OriginResponse {
  /** All of a 200, the beginning of a 404, nothing of others. */
  body: Buffer
}

/**
 * The answer with its body, asked for again where it breaks off (`answerBudget`).
 * @param limit bytes; a longer body is an error
 * @throws GatewayError as `Receiver.fail` has it, or UPSTREAM_FAILED `bad_response`
 */
export async function ask(
  openUpstream: OpenUpstream,
  request: OriginRequest,
  limit: number,
): Promise<CollectedAnswer> {
  const { repeats, delay } = answerBudget
  for (let repeat = 0; ; repeat += 1) {
    const outcome = await askOnce(openUpstream, request, limit)
    if (!(outcome instanceof Failed)) return outcome
    if (!outcome.isPassing || repeat === repeats) throw outcome.error
    await wait(delay * (0.5 + Math.random()))
  }
}

/** An exchange without an answer that is of use. */
class Failed {
  readonly error: GatewayError
  /** It got as far as that the same may go well in a moment. */
  readonly isPassing: boolean

  constructor(error: GatewayError, isPassing: boolean) {
    this.error = error
    this.isPassing = isPassing
  }
}

async function askOnce(
  openUpstream: OpenUpstream,
  request: OriginRequest,
  limit: number,
): Promise<CollectedAnswer | Failed> {
  const { promise, resolve } = Promise.withResolvers<CollectedAnswer | Failed>()
  let body = collectBody(0)
  let answer: OriginResponse | undefined

  const flow = openUpstream(request, {
    start(response) {
      answer = response
      body = collectBody(keptOf(response.status, limit))
      if (request.method === 'HEAD' || response.status !== 200) return
      if (isEncoded(response)) refuse(badResponse('an encoded body', response))
      else if ((lengthOf(response) ?? 0) > limit) refuse(tooLong(limit, response))
    },
    data(chunk) {
      if (body.add(chunk) > limit && answer?.status !== 404) refuse(tooLong(limit, answer))
    },
    end() {
      if (answer === undefined) resolve(new Failed(badResponse('nothing'), false))
      else resolve({ ...answer, body: body.bytes() })
    },
    // What failed before there was content has been asked for again already, but for a 500. Where
    // HEAD does not work, GET is asked instead.
    fail(error) {
      const isAgain = answer !== undefined || error.blame.status === 500
      resolve(new Failed(error, request.method === 'GET' && isOutage(error) && isAgain))
    },
  })
  return promise

  function refuse(error: GatewayError): void {
    flow.abort()
    resolve(new Failed(error, false))
  }
}

function keptOf(status: number, limit: number): number {
  if (status === 200) return limit
  return status === 404 ? errorLimit : 0
}

/** The headers of a GET whose body nobody wants: for upstreams that refuse HEAD. */
export async function askHeaders(
  openUpstream: OpenUpstream,
  request: OriginRequest,
): Promise<OriginResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<OriginResponse>()
  const flow = openUpstream(request, {
    start: resolve,
    data: () => undefined,
    end: () => undefined,
    fail: reject,
  })
  try {
    return await promise
  } finally {
    flow.abort()
  }
}

/** An answer that is of no use, though the exchange itself went well. */
export class BadAnswer extends GatewayError {
  /** Absent where it is about several, or none. */
  readonly answer: OriginResponse | undefined

  constructor(
    reason: 'bad_response' | 'digest_mismatch',
    message: string,
    { answer, cause }: { answer?: OriginResponse | undefined; cause?: unknown },
  ) {
    super('UPSTREAM_FAILED', message, { reason, cause })
    this.answer = answer
  }
}

/** The upstream answered what it must not. `what` completes "the upstream answered with ...". */
export function badResponse(what: string, answer?: OriginResponse, cause?: unknown): BadAnswer {
  return new BadAnswer('bad_response', `the upstream answered with ${what}`, { answer, cause })
}

/** What the upstream sent does not hash to its digest. */
export function digestMismatch(answer: OriginResponse | undefined): BadAnswer {
  const message =
    'the upstream sent content that does not hash to its digest; look for a proxy that alters it'
  return new BadAnswer('digest_mismatch', message, { answer })
}

/** The upstream answers 404 to a blob; `blame` has that where it is a registry's own. */
export function blobUnknown({ headers }: OriginResponse): GatewayError {
  const blame = 'docker-distribution-api-version' in headers ? { status: 404 } : {}
  const message = 'the upstream has no such blob in this repository'
  return new GatewayError('BLOB_UNKNOWN', message, { blame })
}

export function isEncoded({ headers }: OriginResponse): boolean {
  return !['', 'identity'].includes((headers['content-encoding'] ?? '').trim().toLowerCase())
}

/** Content-Length in bytes; undefined where there is none. */
export function lengthOf({ headers }: OriginResponse): number | undefined {
  const length = headers['content-length']
  return length !== undefined && /^\d{1,15}$/.test(length) ? Number(length) : undefined
}

function tooLong(limit: number, answer: OriginResponse | undefined): BadAnswer {
  return badResponse(`more than the ${limit} bytes that are accepted`, answer)
}
