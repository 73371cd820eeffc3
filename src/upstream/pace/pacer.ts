// Paces what comes from upstreams: within the rate of each, and what somebody waits for before the rest.
import { withEnd, type Flow, type OpenUpstream, type OriginRequest } from '../../oci/origin.ts'
import { createBucket, type MaxRate } from './bucket.ts'

export interface PacerOptions {
  openUpstream: OpenUpstream
  /** Asked again and again: a reload may change it. */
  maxRateOf: (upstream: string) => MaxRate
  /** Told of every chunk that arrives. */
  onBytes?: (upstream: string, bytes: number) => void
  /** Milliseconds since 1970. */
  now?: () => number
}

/** One exchange. */
interface Paced {
  /** Whether somebody waits for it now. */
  isWaitedFor: () => boolean
  /** What it has to say goes on arriving nowhere, for its receiver has enough. */
  isStopped: boolean
  /** It has its turn later. */
  isHeld: boolean
  flow: Flow | undefined
}

/** How often those that are held are looked at, ms. */
const lookEvery = 10

/**
 * Like `openUpstream`, within `maxRate`. While something that is waited for comes from an upstream,
 * nothing else does. Bytes are held back by not reading them: at most what the system buffers for a
 * connection is ahead of the rate.
 */
export function createPacer({
  openUpstream,
  maxRateOf,
  onBytes = () => undefined,
  now = Date.now,
}: PacerOptions): OpenUpstream {
  const lanes = new Map<string, ReturnType<typeof createLane>>()

  function laneOf(upstream: string) {
    const maxRate = maxRateOf(upstream)
    const lane = lanes.get(upstream) ?? createLane(maxRate, now)
    lane.change(maxRate)
    lanes.set(upstream, lane)
    return lane
  }

  return (request, receiver) => {
    const lane = laneOf(request.upstream)
    const paced = lane.begin(request)

    function over(): void {
      const isLast = lane.end(paced)
      // With a limit it stays: what was too much is still to be waited for.
      if (isLast && !lane.isLimited) lanes.delete(request.upstream)
    }

    const flow = openUpstream(request, {
      ...withEnd(receiver, over),
      data(chunk) {
        lane.take(chunk.length)
        onBytes(request.upstream, chunk.length)
        receiver.data(chunk)
        lane.holdIfDue(paced)
      },
    })
    paced.flow = flow
    lane.holdIfDue(paced)
    return {
      pause() {
        paced.isStopped = true
        flow.pause()
      },
      resume() {
        paced.isStopped = false
        if (!paced.isHeld) flow.resume()
      },
      abort() {
        over()
        flow.abort()
      },
    }
  }
}

/** What is under way from one upstream. */
function createLane(first: MaxRate, now: () => number) {
  let maxRate = first
  let bucket = createBucket(first, now)
  /** Whoever has had a turn goes to the end. */
  const exchanges = new Set<Paced>()
  let timer: NodeJS.Timeout | undefined

  /** Something may come that somebody waits for. */
  function isBusy(): boolean {
    return [...exchanges].some((one) => !one.isStopped && one.isWaitedFor())
  }

  function look(): void {
    const held = [...exchanges].filter(({ isHeld }) => isHeld)
    if (held.length === 0) stopLooking()
    const isFree = !isBusy()
    for (const paced of held.filter((one) => isFree || one.isWaitedFor())) {
      if (!bucket.hasRoom()) return
      paced.isHeld = false
      exchanges.delete(paced)
      exchanges.add(paced)
      if (!paced.isStopped) paced.flow?.resume()
      // Where there is a limit, the next one comes when it is seen what this one has to say.
      if (maxRate !== undefined) return
    }
  }

  function stopLooking(): void {
    clearInterval(timer)
    timer = undefined
  }

  return {
    get isLimited() {
      return maxRate !== undefined
    },
    change(next: MaxRate): void {
      if (next === maxRate) return
      maxRate = next
      bucket = createBucket(next, now)
    },
    begin({ isWaitedFor = () => true }: OriginRequest): Paced {
      const paced = { isWaitedFor, isStopped: false, isHeld: false, flow: undefined }
      exchanges.add(paced)
      return paced
    },
    /** Returns whether it was the last one under way; one that has ended already is not. */
    end(paced: Paced): boolean {
      const isLast = exchanges.delete(paced) && exchanges.size === 0
      if (isLast) stopLooking()
      return isLast
    },
    take(bytes: number): void {
      if (maxRate !== undefined) bucket.take(bytes)
    },
    /** Holds it where others come first, or too much has come. */
    holdIfDue(paced: Paced): void {
      if (paced.isHeld || !exchanges.has(paced)) return
      const isTooMuch = maxRate !== undefined && !bucket.hasRoom()
      if (!isTooMuch && (paced.isWaitedFor() || !isBusy())) return
      paced.isHeld = true
      paced.flow?.pause()
      timer ??= setInterval(look, lookEvery).unref()
    },
  }
}
