// One blob from its upstream, whatever happens on the way: goes on where a connection broke.
import type { GatewayError } from '../../errors.ts'
import { type Digest, hasherFor } from '../../oci/digest.ts'
import {
  createSuccessiveFlow,
  createWay,
  type Flow,
  type OpenUpstream,
  type OriginRequest,
  type OriginResponse,
  type Way,
} from '../../oci/origin.ts'
import { requestAt, type Place } from '../../oci/place.ts'
import { answerBudget, blobBudget } from '../../oci/attempts.ts'
import { isOutage } from '../../oci/failure-scope.ts'
import { BadAnswer, badResponse, digestMismatch, isEncoded } from '../ask.ts'
import type { Readers } from './readers.ts'
import { endedEarly, judgeResponse } from './resumption.ts'

/** Told: `begin` once, `data` in order and each byte once, then `end` or `fail`. */
export interface FillTarget {
  /** The upstream has it. Bytes; undefined where the upstream does not say. */
  begin: (size: number | undefined) => void
  data: (chunk: Buffer) => void
  /** The hash, in hex, of all that `data` was given. */
  hashSoFar: () => string
  /** The upstream says that this was all: whether it is what was wanted. */
  end: () => boolean
  fail: (error: GatewayError) => void
}

export interface Download extends Flow {
  /** It waits for no other replica. */
  isOwn: () => boolean
}

export interface DownloadOptions {
  openUpstream: OpenUpstream
  place: Place
  digest: Digest
  target: FillTarget
  readers: Pick<Readers, 'isWaitedFor' | 'breakOffWaiting'>
  /** See `createBackoff`, ms. */
  retryDelay: number
}

/**
 * Starts the download; `target` hears nothing before this has returned. States: asked (nothing has
 * begun), flowing, waiting to try again, over.
 */
export function startDownload(options: DownloadOptions): Download {
  const { openUpstream, digest, target, readers } = options
  const backoff = createBackoff(options.retryDelay)
  const attempts = createAttempts(attempt)
  const way = createWay()
  const state = { size: undefined as number | undefined, received: 0, usesRange: true }
  let hasBegun = false
  /** The last one. */
  let answer: OriginResponse | undefined
  /** The upstream knows no parts. */
  let startsOver = false
  /** What was there when the upstream ended a body whose size it had not told. */
  let mismatchAt = -1

  const mismatch = () =>
    answer && isEncoded(answer) ? badResponse('an encoded blob', answer) : digestMismatch(answer)

  function fail(error: GatewayError): void {
    attempts.flow.abort()
    target.fail(error)
  }

  function retry(error: GatewayError): void {
    const delay = backoff(state.received, hasBegun)
    if (delay === undefined || (delay.isLate && !outlasts(error))) fail(error)
    else attempts.again(delay.ms)
  }

  /** What would come again from its beginning each time is not worth it. */
  function outlasts(error: GatewayError): boolean {
    return !startsOver && !(error instanceof BadAnswer) && readers.breakOffWaiting(error)
  }

  function start(response: OriginResponse, from: number | undefined): Prefix | undefined {
    answer = response
    const verdict = judgeResponse(response, { digest, from, ...state })
    if (verdict.kind === 'fail') fail(verdict.error)
    if (verdict.kind === 'wrong') fail(mismatch())
    if (verdict.kind === 'retry') {
      state.usesRange = false
      retry(verdict.error)
    }
    if (verdict.kind !== 'body') return undefined
    state.size = verdict.size
    if (!hasBegun) target.begin(verdict.size)
    hasBegun = true
    startsOver = verdict.startsOver
    return verdict.startsOver ? createPrefix(digest, state.received) : undefined
  }

  function take(chunk: Buffer): void {
    state.received += chunk.length
    const isTooLong = state.size !== undefined && state.received > state.size
    if (isTooLong) fail(badResponse('more bytes than it announced', answer))
    else if (chunk.length > 0) target.data(chunk)
  }

  function end(isWhole: boolean): void {
    const { received, size } = state
    if (!isWhole || (size !== undefined && received < size)) retry(endedEarly())
    else if (target.end()) return
    else if (size === undefined && received > mismatchAt) {
      // Without a length nobody can tell a body that was cut off from one that is wrong.
      mismatchAt = received
      retry(mismatch())
    } else fail(mismatch())
  }

  function attempt(): Flow {
    const from = state.usesRange && state.received > 0 ? state.received : undefined
    let prefix: Prefix | undefined
    return openUpstream(requestFor(options, way, from), {
      start: (response) => void (prefix = start(response, from)),
      data(chunk) {
        if (prefix === undefined) return take(chunk)
        const rest = prefix.skip(chunk)
        if (!prefix.isComplete()) return undefined
        if (prefix.hash() !== target.hashSoFar()) return fail(mismatch())
        prefix = undefined
        return take(rest)
      },
      end: () => end(prefix === undefined),
      fail(error) {
        // A refusal of a part says nothing of the whole.
        if (!isOutage(error)) state.usesRange = false
        const mayPass = isOutage(error) || from !== undefined
        if (hasBegun ? mayPass : error.blame.status === 500) retry(error)
        else fail(error)
      },
    })
  }

  attempts.begin()
  return { ...attempts.flow, isOwn: () => way.isOwn }
}

/** The one hand on exchanges that follow each other. */
function createAttempts(open: () => Flow) {
  const hand = createSuccessiveFlow()
  let current: Flow | undefined
  let timer: NodeJS.Timeout | undefined

  function begin(): void {
    current = open()
    hand.use(current)
  }

  function abort(): void {
    clearTimeout(timer)
    hand.abort()
  }

  return {
    begin,
    /** Ends what is under way, and begins anew after so many ms. */
    again(ms: number): void {
      current?.abort()
      timer = setTimeout(begin, ms)
    },
    flow: { pause: hand.pause, resume: hand.resume, abort },
  }
}

function requestFor(
  { place, digest, readers: { isWaitedFor } }: DownloadOptions,
  way: Way,
  from: number | undefined,
): OriginRequest {
  const resource = `blobs/${digest}`
  const request = { ...requestAt(place), method: 'GET', resource, isWaitedFor, way } as const
  return from === undefined ? request : { ...request, from }
}

/**
 * Returns what tells how long to wait after a failure, ms, and whether that is for those only who have
 * time; undefined: it is no use any more.
 * @param delay ms, after the second failure in a row without progress; each further one waits
 *   four times as long, and about half to one and a half of that
 */
function createBackoff(delay: number) {
  const { failures: most, patience } = blobBudget
  let failures = 0
  let receivedBefore = 0
  /** Of what has not begun at all. */
  let repeats = 0
  return (received: number, hasBegun: boolean): { ms: number; isLate: boolean } | undefined => {
    if (!hasBegun) {
      repeats += 1
      const ms = answerBudget.delay * (0.5 + Math.random())
      return repeats > answerBudget.repeats ? undefined : { ms, isLate: false }
    }
    failures = received > receivedBefore ? 1 : failures + 1
    receivedBefore = received
    if (failures > most + patience.failures) return undefined
    const isLate = failures > most
    const times = isLate ? patience.times : 4 ** (failures - 2)
    return { ms: delay * times * (0.5 + Math.random()), isLate }
  }
}

interface Prefix {
  /** Returns what of the chunk is behind the prefix. */
  skip: (chunk: Buffer) => Buffer
  isComplete: () => boolean
  /** In hex; to be called once, when it is complete. */
  hash: () => string
}

/** @param length bytes that are there already */
function createPrefix(digest: Digest, length: number): Prefix {
  const hash = hasherFor(digest)
  let left = length
  return {
    skip(chunk) {
      const again = chunk.subarray(0, left)
      hash.update(again)
      left -= again.length
      return chunk.subarray(again.length)
    },
    isComplete: () => left === 0,
    hash: () => hash.digest('hex'),
  }
}
