// Ends answers that drip: a byte now and then puts off every time limit that counts pauses.
import type { Dispatcher } from 'undici'

export interface TimeLimits {
  /** Longest wait for the head of an answer, ms. */
  headersTimeout: number
  /** Longest pause within a body, ms. */
  stallTimeout: number
}

/** How long one answer is waited for. Told of each step, when whoever gets it has had it. */
export interface Patience {
  asked: () => void
  /** An interim response (RFC 9110 section 15.2): any number may come before the answer. */
  interim: (controller: Dispatcher.DispatchController) => void
  begun: (controller: Dispatcher.DispatchController) => void
  /** So many bytes of a body that is wanted as a whole. */
  received: (controller: Dispatcher.DispatchController, bytes: number) => void
}

/** Bytes a second, on average and after a first pause: no link that anybody pulls over is slower. */
const slowest = 100

export function createPatience({ headersTimeout, stallTimeout }: TimeLimits): Patience {
  let since = 0
  let bytes = 0
  /** What comes late then is not the fault of the upstream. */
  let isHeldBack = false

  function restart(): void {
    since = performance.now()
    bytes = 0
  }

  return {
    asked: restart,
    interim(controller) {
      if (performance.now() - since < headersTimeout) return
      controller.abort(new TooSlow('UND_ERR_HEADERS_TIMEOUT', 'only interim responses came'))
    },
    begun({ paused }) {
      restart()
      isHeldBack = paused
    },
    received(controller, more) {
      if (isHeldBack) restart()
      isHeldBack = controller.paused
      bytes += more
      if (performance.now() - since < stallTimeout + (bytes / slowest) * 1000) return
      controller.abort(new TooSlow('UND_ERR_BODY_TIMEOUT', `fewer than ${slowest} bytes a second`))
    },
  }
}

/** With the code that undici has where nothing comes at all. */
class TooSlow extends Error {
  readonly code: string

  constructor(code: string, message: string) {
    super(message)
    this.code = code
  }
}
