// The hand on one exchange while it moves from connection to connection: authentication, redirects
// and retries each open a new one.
import type { Dispatcher } from 'undici'
import type { Flow } from '../oci/origin.ts'

export interface ExchangeFlow extends Flow {
  readonly isAborted: boolean
  /** Resolves when the exchange is aborted. */
  readonly aborted: Promise<void>
  /** A connection has taken the request. */
  attach(controller: Dispatcher.DispatchController): void
  /** What this connection sends from now on is for the receiver, and may be paused. */
  deliver(controller: Dispatcher.DispatchController): void
}

export function createFlow(): ExchangeFlow {
  const { promise: aborted, resolve } = Promise.withResolvers<void>()
  let isAborted = false
  let isPaused = false
  let current: Dispatcher.DispatchController | undefined
  let delivering: Dispatcher.DispatchController | undefined

  const stop = (controller: Dispatcher.DispatchController) => controller.abort(new Error('aborted'))

  return {
    get isAborted() {
      return isAborted
    },
    aborted,
    pause: () => {
      isPaused = true
      delivering?.pause()
    },
    resume: () => {
      isPaused = false
      delivering?.resume()
    },
    abort: () => {
      if (isAborted) return
      isAborted = true
      resolve()
      if (current !== undefined) stop(current)
    },
    attach: (controller) => {
      current = controller
      delivering = undefined
      if (isAborted) stop(controller)
    },
    deliver: (controller) => {
      delivering = controller
      if (isPaused) controller.pause()
    },
  }
}
