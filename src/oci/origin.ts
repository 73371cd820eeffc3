// The port between the cache and whatever holds the content it lacks: an upstream registry, or a
// fake in tests. Push-style on purpose: bytes go from the socket to the receiver without a stream
// in between (a fetch body costs 2.4 times as much CPU per byte).
import type { GatewayError } from '../errors.ts'
import type { Digest } from './digest.ts'
import type { Place } from './place.ts'

export interface OriginRequest extends Omit<Place, 'isBackground'> {
  method: 'GET' | 'HEAD'
  /**
   * What is asked below `/v2/<repository>/`, such as `blobs/sha256:…` or `tags/list?n=100`; where
   * `repository` is empty it is asked of the registry itself, such as `_catalog`.
   */
  resource: string
  /** The Accept header; none is sent when absent. */
  accept?: string
  /** Ask for the bytes from this offset on (`Range: bytes=N-`). */
  from?: number
  /** With `from`: and no further than before this offset (`Range: bytes=N-M`). */
  to?: number
  /** Whether somebody waits for it, which may change meanwhile; absent: somebody does. */
  isWaitedFor?: () => boolean
  /** Where a foreign layer is, according to its manifest: asked instead of the registry, as a stranger. */
  url?: string
  /** Kept over all attempts for the same content; absent where it is asked for once, in parts, or by name. */
  way?: Way
  /** The content that is known: 304 says that it is still the same (`If-None-Match`). */
  unless?: Digest
}

/**
 * Whom content is had from. What waits for another replica is followed by none of those that look whether it
 * is there, or two could wait for each other.
 */
export interface Way {
  /** The upstream itself is asked now, or sends. */
  isOwn: boolean
  /** It was, at some time: replicas may have followed it since, and must not be asked to fetch it. */
  hasBeenOwn: boolean
  /** Replicas that have not sent it in time. */
  tooSlow: Set<string>
}

export function createWay(): Way {
  return { isOwn: false, hasBeenOwn: false, tooSlow: new Set() }
}

/**
 * Whether one that is asked has something, so that nothing has to be fetched for it. `elsewhere`: for another
 * repository of the upstream, which has to confirm it for this one.
 */
export type AtHand = 'here' | 'elsewhere' | undefined

/** The final response, after authentication, redirects and retries. Header names are lower-case. */
export interface OriginResponse {
  /** 200, 206, 304, 404, 405 or 416: everything else arrives as `fail`. */
  status: number
  headers: Readonly<Record<string, string>>
  /** Whoever sent it is passed over for a while: its content is of no use. Absent: there is nobody to blame. */
  distrust?: () => void
  /** Whether a text has what was sent as credentials. Absent: of content, which is what its digest says. */
  repeatsSecret?: (text: string) => boolean
}

/** Control over one exchange. All methods may be called at any time, and more than once. */
export interface Flow {
  pause: () => void
  resume: () => void
  /** Ends the exchange and its connection; the receiver hears nothing more. */
  abort: () => void
}

/** The one hand on exchanges that begin later, or follow each other. */
export interface SuccessiveFlow extends Flow {
  readonly isAborted: boolean
  /** From now on `next` is meant: it is paused, or aborted, if the one before was. */
  use: (next: Flow) => void
}

export function createSuccessiveFlow(): SuccessiveFlow {
  let current: Flow | undefined
  let isPaused = false
  let isAborted = false
  return {
    get isAborted() {
      return isAborted
    },
    use(next) {
      current = next
      if (isAborted) next.abort()
      else if (isPaused) next.pause()
    },
    pause() {
      isPaused = true
      current?.pause()
    },
    resume() {
      isPaused = false
      current?.resume()
    },
    abort() {
      isAborted = true
      current?.abort()
    },
  }
}

/** Told in this order: `start`, any number of `data`, then `end`; or `fail` at any point, last. */
export interface Receiver {
  start(response: OriginResponse): void
  /** The chunk is the receiver's only until it returns: keep a copy, not a reference. */
  data(chunk: Buffer): void
  end(): void
  /**
   * Codes: LOOP_DETECTED (508), UPSTREAM_FAILED (502), UPSTREAM_TIMEOUT (504), TOOMANYREQUESTS (429) mean that the
   * upstream could not be asked, or that its answer is of no use; DENIED (403) that it refuses the
   * gateway. `reason` says why, `blame` who and with which status.
   */
  fail(error: GatewayError): void
}

/** `receiver`, and `over`, which is called before it hears of the end, whichever that is. */
export function withEnd(receiver: Receiver, over: () => void): Receiver {
  return {
    start: (response) => receiver.start(response),
    data: (chunk) => receiver.data(chunk),
    end() {
      over()
      receiver.end()
    },
    fail(error) {
      over()
      receiver.fail(error)
    },
  }
}

/**
 * Starts one exchange with an upstream. Never throws: what goes wrong reaches `receiver.fail`. The
 * receiver is never called before this has returned, so it may use the flow wherever it is called.
 */
export type OpenUpstream = (request: OriginRequest, receiver: Receiver) => Flow

/** An exchange that fails with `error` before anybody is asked. */
export function createFailedFlow(error: GatewayError, receiver: Receiver): Flow {
  let isAborted = false
  queueMicrotask(() => {
    if (!isAborted) receiver.fail(error)
  })
  return {
    pause() {},
    resume() {},
    abort() {
      isAborted = true
    },
  }
}
