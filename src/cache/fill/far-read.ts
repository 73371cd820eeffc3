// Fetches a part of a blob by itself, for a reader that is far ahead of the download. What comes is
// passed on as it is: it is neither stored nor hashed.
import type { Digest } from '../../oci/digest.ts'
import type { OpenUpstream } from '../../oci/origin.ts'
import { requestAt, type Place } from '../../oci/place.ts'
import { isEncoded } from '../ask.ts'
import { judgeResponse } from './resumption.ts'

export interface FarRead {
  /** Offset of what is taken next. */
  position: () => number
  /** Copies what has come: the number of bytes, 0 where there is nothing yet. */
  take: (buffer: Buffer) => number
  /** Ends the exchange. */
  close: () => void
}

export interface FarReadOptions {
  openUpstream: OpenUpstream
  /** The repository whose reader it is: its upstream decides whether it may have this. */
  place: Place
  digest: Digest
  /** Offset of the first byte. */
  from: number
  /** Offset behind the last one. */
  to: number
  /** Bytes of the whole, as the download knows them. */
  size: number
  /** There is something to take. */
  onBytes: () => void
  /** No more will come, and not all has; `isRefused`: the upstream does not answer with parts. */
  onFailure: (isRefused: boolean) => void
}

/** Bytes in memory before the upstream has to wait. */
const mostHeld = 512 * 1024

/** Starts it. States: asked, flowing or paused, over. Calls back once this has returned. */
export function openFarRead(options: FarReadOptions): FarRead {
  const { openUpstream, place, digest, from, to, size, onBytes, onFailure } = options
  const chunks: Buffer[] = []
  let position = from
  /** Offset behind what has come. */
  let end = from

  function fail(isRefused: boolean): void {
    flow.abort()
    onFailure(isRefused)
  }

  const resource = `blobs/${digest}`
  const request = { ...requestAt(place), resource, method: 'GET', from, to } as const
  const flow = openUpstream(request, {
    start(response) {
      const verdict = judgeResponse(response, { digest, from, received: from, size })
      const isPart = verdict.kind === 'body' && !verdict.startsOver && !isEncoded(response)
      if (!isPart) fail(true)
    },
    data(chunk) {
      const wanted = Buffer.from(chunk.subarray(0, to - end))
      if (wanted.length === 0) return
      chunks.push(wanted)
      end += wanted.length
      if (end - position > mostHeld) flow.pause()
      onBytes()
    },
    end() {
      if (end < to) onFailure(false)
    },
    fail: () => onFailure(false),
  })

  return {
    position: () => position,
    take(buffer) {
      let taken = 0
      for (let first = chunks[0]; first !== undefined && taken < buffer.length; first = chunks[0]) {
        const copied = first.copy(buffer, taken)
        taken += copied
        if (copied === first.length) chunks.shift()
        else chunks[0] = first.subarray(copied)
      }
      position += taken
      if (end - position <= mostHeld) flow.resume()
      return taken
    },
    close: () => flow.abort(),
  }
}
