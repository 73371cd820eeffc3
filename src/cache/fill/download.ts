// One blob from its upstream, whatever happens on the way: goes on where a connection broke.
import { GatewayError } from '../../errors.ts'
import { type Digest, hasherFor } from '../../oci/digest.ts'
import type { Flow, OpenUpstream, OriginRequest, OriginResponse } from '../../oci/origin.ts'
import type { Place } from '../../oci/place.ts'
import { badResponse, digestMismatch, isOutage } from '../ask.ts'
import { createRelay, openAttempt } from './relay.ts'
import { judge } from './resumption.ts'

/** Told: `begin` once, `data` in order and each byte once, then `end` or `fail`. */
export interface Target {
  /** The upstream has it. Bytes; undefined where the upstream does not say. */
  begin: (size: number | undefined) => void
  data: (chunk: Buffer) => void
  /** The hash, in hex, of all that `data` was given. */
  hashSoFar: () => string
  /** The upstream says that this was all: whether it is what was wanted. */
  end: () => boolean
  fail: (error: GatewayError) => void
}

export interface DownloadOptions {
  openUpstream: OpenUpstream
  place: Place
  digest: Digest
  target: Target
  /** See `createBackoff`, ms. */
  retryDelay: number
}

/** Starts the download. It may fail before this returns. */
export function startDownload(options: DownloadOptions): Flow {
  const { openUpstream, place, digest, target } = options
  const backoff = createBackoff(options.retryDelay)
  const all = createRelay()
  let timer: NodeJS.Timeout | undefined
  let hasBegun = false
  let size: number | undefined
  let received = 0
  let usesRange = true
  /** What was there when the upstream ended a body whose size it had not told. */
  let mismatchAt = -1

  function fail(error: GatewayError): void {
    all.abort()
    target.fail(error)
  }

  function retry(error: GatewayError, flow: Flow): void {
    flow.abort()
    const delay = backoff(received)
    if (delay === undefined) fail(error)
    else timer = setTimeout(attempt, delay)
  }

  function start(
    response: OriginResponse,
    from: number | undefined,
    flow: Flow,
  ): Prefix | undefined {
    const verdict = judge(response, { from, received, size })
    if (verdict.kind === 'fail') fail(verdict.error)
    if (verdict.kind === 'retry') {
      usesRange = false
      retry(verdict.error, flow)
    }
    if (verdict.kind !== 'body') return undefined
    size = verdict.size
    if (!hasBegun) target.begin(size)
    hasBegun = true
    return verdict.startsOver ? createPrefix(digest, received) : undefined
  }

  function take(chunk: Buffer): void {
    received += chunk.length
    if (size !== undefined && received > size) fail(badResponse('more bytes than it announced'))
    else if (chunk.length > 0) target.data(chunk)
  }

  function end(isWhole: boolean, flow: Flow): void {
    if (!isWhole || (size !== undefined && received < size)) retry(endedEarly(), flow)
    else if (target.end()) return
    else if (size === undefined && received > mismatchAt) {
      // Without a length nobody can tell a body that was cut off from one that is wrong.
      mismatchAt = received
      retry(digestMismatch(), flow)
    } else fail(digestMismatch())
  }

  function attempt(): void {
    const from = usesRange && received > 0 ? received : undefined
    const flow = openAttempt(openUpstream, requestFor(place, digest, from), (flow) => {
      let prefix: Prefix | undefined
      return {
        start: (response) => void (prefix = start(response, from, flow)),
        data(chunk) {
          if (prefix === undefined || prefix.isComplete()) return take(chunk)
          const rest = prefix.skip(chunk)
          if (!prefix.isComplete()) return undefined
          return prefix.hash() === target.hashSoFar() ? take(rest) : fail(digestMismatch())
        },
        end: () => end(prefix?.isComplete() ?? true, flow),
        fail: (error) => (isOutage(error) && hasBegun ? retry(error, flow) : fail(error)),
      }
    })
    all.use(flow)
  }

  attempt()
  return {
    ...all,
    abort() {
      clearTimeout(timer)
      all.abort()
    },
  }
}

function requestFor(place: Place, digest: Digest, from: number | undefined): OriginRequest {
  const { upstream, repository } = place
  const request: OriginRequest = {
    upstream,
    method: 'GET',
    repository,
    resource: `blobs/${digest}`,
  }
  return from === undefined ? request : { ...request, from }
}

function endedEarly(): GatewayError {
  return new GatewayError('UPSTREAM_FAILED', 'the upstream ended the blob too early; ask again', {
    reason: 'ended_early',
  })
}

const maxFailures = 5

/**
 * Returns what tells how long to wait after a failure, ms; undefined: it is no use any more.
 * @param delay ms, after the second failure in a row without progress; each further one waits
 *   four times as long, and about half to one and a half of that
 */
function createBackoff(delay: number): (received: number) => number | undefined {
  let failures = 0
  let receivedBefore = 0
  return (received) => {
    failures = received > receivedBefore ? 1 : failures + 1
    receivedBefore = received
    if (failures > maxFailures) return undefined
    return delay * 4 ** (failures - 2) * (0.5 + Math.random())
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
