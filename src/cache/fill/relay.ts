// Control over exchanges that follow each other, or that have yet to be returned.
import type { Flow, OpenUpstream, OriginRequest, Receiver } from '../../oci/origin.ts'

export interface Relay extends Flow {
  /** From now on `flow` is meant: it is paused or aborted at once if the relay was. */
  use: (flow: Flow) => void
  isAborted: () => boolean
}

export function createRelay(): Relay {
  const flows: Flow[] = []
  let isPaused = false
  let isAborted = false
  return {
    use(flow) {
      flows[0] = flow
      if (isAborted) flow.abort()
      else if (isPaused) flow.pause()
    },
    pause() {
      isPaused = true
      flows[0]?.pause()
    },
    resume() {
      isPaused = false
      flows[0]?.resume()
    },
    abort() {
      isAborted = true
      flows[0]?.abort()
    },
    isAborted: () => isAborted,
  }
}

/** Like `openUpstream`, but the receiver may abort the exchange before it has been returned. */
export function openAttempt(
  openUpstream: OpenUpstream,
  request: OriginRequest,
  receiverFor: (flow: Flow) => Receiver,
): Flow {
  const relay = createRelay()
  const receiver = receiverFor(relay)
  const unless = relay.isAborted
  relay.use(
    openUpstream(request, {
      start: (response) => void (unless() || receiver.start(response)),
      data: (chunk) => void (unless() || receiver.data(chunk)),
      end: () => void (unless() || receiver.end()),
      fail: (error) => void (unless() || receiver.fail(error)),
    }),
  )
  return relay
}
