// Pure: what the headers of a blob's response mean for a download that may have begun before.
import { GatewayError } from '../../errors.ts'
import type { OriginResponse } from '../../oci/origin.ts'
import { badResponse, digestMismatch, isEncoded, lengthOf } from '../ask.ts'

export interface Progress {
  /** The offset that was asked for; undefined: all of it was. */
  from: number | undefined
  /** Bytes that are there. */
  received: number
  /** Bytes in all, as far as it is known. */
  size: number | undefined
}

export type Verdict =
  /** The body follows, from the beginning or from `received` on. */
  | { kind: 'body'; size: number | undefined; startsOver: boolean }
  /** Worth another attempt, without asking for a part. */
  | { kind: 'retry'; error: GatewayError }
  | { kind: 'fail'; error: GatewayError }

/** No layer has so many bytes: 1 TiB. */
const largest = 2 ** 40

export function judge(response: OriginResponse, progress: Progress): Verdict {
  const { status } = response
  if (status === 404) return fail(new GatewayError('BLOB_UNKNOWN', 'the upstream has no such blob'))
  if (status === 416 && progress.size === undefined) return fail(digestMismatch())
  if (status !== 200 && status !== 206) return fail(badResponse(`status ${status} to a blob`))
  if (isEncoded(response)) return fail(badResponse('an encoded blob, which cannot be verified'))
  return status === 200 ? whole(response, progress) : part(response, progress)
}

function whole(response: OriginResponse, { received, size }: Progress): Verdict {
  const length = lengthOf(response)
  if (size !== undefined && length !== undefined && length !== size) {
    return fail(badResponse(`a blob of ${length} bytes, which had ${size} before`))
  }
  if ((length ?? 0) > largest) return fail(badResponse(`a blob of ${length} bytes, beyond reason`))
  return { kind: 'body', size: size ?? length, startsOver: received > 0 }
}

function part({ headers }: OriginResponse, { from, size }: Progress): Verdict {
  const match = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(headers['content-range'] ?? '')
  const total = match?.[2] === '*' ? size : Number(match?.[2])
  if (from === undefined || match === null || Number(match[1]) !== from) {
    return { kind: 'retry', error: badResponse('another part than was asked for') }
  }
  if (size !== undefined && total !== size) {
    return {
      kind: 'retry',
      error: badResponse(`a part of ${total} bytes, which were ${size} before`),
    }
  }
  return { kind: 'body', size: total, startsOver: false }
}

function fail(error: GatewayError): Verdict {
  return { kind: 'fail', error }
}
