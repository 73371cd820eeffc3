// Asks for room before a download is read: its answer waits, and the upstream with it, until there is
// some or it is known that there will be none.
import type { Flow, OpenUpstream, OriginResponse, Receiver } from '../../oci/origin.ts'
import type { Reservation } from '../room/room.ts'
import { lengthOf } from '../ask.ts'

type Reserved = Reservation | undefined

export interface Admission {
  /** As the upstream is; the first answer of all is what room is asked for. */
  open: OpenUpstream
  /** There is room for what comes; known before anything is told of it. */
  isGranted: () => boolean
  /** It is stored, or will not be. */
  release: () => void
}

/**
 * @param reserve asked once, with the size as far as the upstream says it, bytes, and what tells how
 *   much of it has come
 */
export function createAdmission(
  openUpstream: OpenUpstream,
  reserve: (size: number | undefined, come: () => number) => Reserved | Promise<Reserved>,
): Admission {
  let hasAsked = false
  let isOver = false
  let reservation: Reserved
  let come = 0

  function ask(response: OriginResponse): void | Promise<void> {
    if (hasAsked || (response.status !== 200 && response.status !== 206)) return undefined
    hasAsked = true
    const answer = reserve(lengthOf(response), () => come)
    if (answer instanceof Promise) return answer.then(take)
    return take(answer)
  }

  function take(answer: Reserved): void {
    if (isOver) answer?.release()
    else reservation = answer
  }

  return {
    open: (request, receiver) =>
      openGated(openUpstream, request, ask, {
        ...receiver,
        data(chunk) {
          come += chunk.length
          receiver.data(chunk)
        },
      }),
    isGranted: () => reservation !== undefined,
    release() {
      isOver = true
      reservation?.release()
      reservation = undefined
    },
  }
}

/** What comes while `ask` has not answered is kept for then. */
function openGated(
  openUpstream: OpenUpstream,
  request: Parameters<OpenUpstream>[0],
  ask: (response: OriginResponse) => void | Promise<void>,
  receiver: Receiver,
): Flow {
  let waiting: (() => void)[] | undefined
  let isPaused = false
  let isAborted = false

  function later(work: () => void): void {
    if (waiting === undefined) work()
    else waiting.push(work)
  }

  function goOn(): void {
    const kept = waiting ?? []
    waiting = undefined
    for (const work of kept) if (!isAborted) work()
    if (!isPaused && !isAborted) flow.resume()
  }

  const flow = openUpstream(request, {
    start(response) {
      const answer = ask(response)
      if (answer === undefined) return receiver.start(response)
      waiting = [() => receiver.start(response)]
      flow.pause()
      void answer.then(goOn)
      return undefined
    },
    data(chunk) {
      if (waiting === undefined) return receiver.data(chunk)
      const copy = Buffer.from(chunk)
      return later(() => receiver.data(copy))
    },
    end: () => later(() => receiver.end()),
    fail: (error) => later(() => receiver.fail(error)),
  })
  return {
    pause() {
      isPaused = true
      flow.pause()
    },
    resume() {
      isPaused = false
      if (waiting === undefined) flow.resume()
    },
    abort() {
      isAborted = true
      flow.abort()
    },
  }
}
