// Asks for blobs where their manifests say that they are, after the registry has said that it does not
// have them: foreign layers, which may not be distributed by everybody who holds the image.
import { GatewayError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import { layerAddresses } from '../oci/manifest.ts'
import {
  createSuccessiveFlow,
  type Flow,
  type OpenUpstream,
  type OriginRequest,
  type Receiver,
} from '../oci/origin.ts'
import type { Place } from '../oci/place.ts'
import type { Context } from './context.ts'
import type { Manifests } from './manifests.ts'

export interface ForeignLayers {
  /**
   * What the registry said of a blob; undefined where that is BLOB_UNKNOWN, and a manifest which the
   * place is known to hold has addresses of it.
   */
  orElsewhere: <T>(place: Place, digest: Digest, asking: Promise<T>) => Promise<T | undefined>
  /**
   * Like `openUpstream`, for `blobs/<digest>`. That an address answers proves nothing of what the
   * repository holds: only the content does, whole and verified.
   */
  open: OpenUpstream
}

export function createForeignLayers(
  { index, memory, openUpstream }: Pick<Context, 'index' | 'memory' | 'openUpstream'>,
  { held }: Pick<Manifests, 'held'>,
): ForeignLayers {
  async function addresses(place: Place, digest: Digest): Promise<string[]> {
    for (const parent of index.parentsOf(digest)) {
      if (!memory.isLinked(place, parent, 'manifest')) continue
      const manifest = await held(place, parent)
      const found = manifest === undefined ? [] : layerAddresses(manifest.content.bytes, digest)
      if (found.length > 0) return found
    }
    return []
  }

  return {
    async orElsewhere(place, digest, asking) {
      try {
        return await asking
      } catch (error) {
        const isUnknown = error instanceof GatewayError && error.code === 'BLOB_UNKNOWN'
        if (isUnknown && (await addresses(place, digest)).length > 0) return undefined
        throw error
      }
    },
    open(request, receiver) {
      const digest = request.resource.slice('blobs/'.length) as Digest
      const relay = createRelay(openUpstream, receiver)
      relay.ask(request, {
        onMissing: (answer) =>
          void askElsewhere(addresses(request, digest), request, relay, answer),
        onFailure: relay.fail,
      })
      return relay.flow
    },
  }
}

/** Never rejects. `answer` passes on what the registry has said. */
async function askElsewhere(
  finding: Promise<readonly string[]>,
  request: OriginRequest,
  relay: Relay,
  answer: () => void,
): Promise<void> {
  try {
    let failure: GatewayError | undefined
    for (const url of await finding) {
      const isOver = await new Promise<boolean>((resolve) => {
        relay.ask(
          { ...request, url },
          {
            onAnswer: () => resolve(true),
            onMissing: () => resolve(false),
            onFailure(error) {
              failure = error
              resolve(false)
            },
          },
        )
      })
      if (isOver) return
    }
    if (failure === undefined) answer()
    else relay.fail(failure)
  } catch (cause) {
    const message = 'the addresses of a foreign layer cannot be read'
    relay.fail(
      cause instanceof GatewayError ? cause : new GatewayError('INTERNAL', message, { cause }),
    )
  }
}

interface Relay {
  /** Asks one after another; whichever has it answers the receiver. */
  ask: (request: OriginRequest, told: Told) => void
  fail: (error: GatewayError) => void
  /** The hand on whichever is asked. */
  flow: Flow
}

interface Told {
  /** It has it: the receiver hears the rest. */
  onAnswer?: () => void
  /** It does not; `answer` tells the receiver so. */
  onMissing: (answer: () => void) => void
  onFailure: (error: GatewayError) => void
}

function createRelay(openUpstream: OpenUpstream, receiver: Receiver): Relay {
  const hand = createSuccessiveFlow()

  /** The receiver may end the exchange whenever it is told something. */
  function unlessAborted(tell: () => void): void {
    if (!hand.isAborted) tell()
  }

  return {
    ask(request, { onAnswer, onMissing, onFailure }) {
      if (hand.isAborted) return
      let hasAnswered = false
      const flow = openUpstream(request, {
        start(response) {
          if (response.status === 404) {
            flow.abort()
            return onMissing(() => {
              unlessAborted(() => receiver.start(response))
              unlessAborted(() => receiver.end())
            })
          }
          hasAnswered = true
          onAnswer?.()
          return receiver.start(response)
        },
        data: (chunk) => receiver.data(chunk),
        end: () => receiver.end(),
        fail: (error) => (hasAnswered ? receiver.fail(error) : onFailure(error)),
      })
      hand.use(flow)
    },
    fail: (error) => unlessAborted(() => receiver.fail(error)),
    flow: hand,
  }
}
