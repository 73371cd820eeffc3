// Judges what the headers of a blob's response mean for a download that may have begun before. Pure.
import { GatewayError } from '../../errors.ts'
import { isDigestOfNothing, type Digest } from '../../oci/digest.ts'
import { blobLimit } from '../../oci/manifest.ts'
import type { OriginResponse } from '../../oci/origin.ts'
import { badResponse, blobUnknown, digestMismatch, lengthOf } from '../ask.ts'

export interface FillProgress {
  digest: Digest
  /** The offset that was asked for; undefined: all of it was. */
  from: number | undefined
  /** Bytes that are there. */
  received: number
  /** Bytes in all, as far as it is known. */
  size: number | undefined
}

interface Body {
  size: number | undefined
  /** It begins at the beginning although something is there: that has to come again. */
  startsOver: boolean
}

export type ResponseVerdict =
  | ({ kind: 'body' } & Body)
  /** Worth another attempt, without asking for a part. */
  | { kind: 'retry'; error: GatewayError }
  | { kind: 'fail'; error: GatewayError }
  /** All is there already, and does not hash to the digest. */
  | { kind: 'wrong' }

/**
 * What does not fit a download that has begun is worth asking for the whole once more: a signed
 * address may be good for no part, or no longer. A label such as `Content-Encoding: x-gzip` is no
 * reason to refuse: the digest says better what the bytes are.
 */
export function judgeResponse(response: OriginResponse, progress: FillProgress): ResponseVerdict {
  const { digest, from, received, size } = progress
  if (response.status === 416 && from !== undefined && size === undefined) {
    return { kind: 'wrong' }
  }
  const body = read(response, progress)
  const found = body instanceof GatewayError ? body : (tooOdd(response, body.size, digest) ?? body)
  if (!(found instanceof GatewayError)) return { kind: 'body', ...found }
  return { kind: received > 0 ? 'retry' : 'fail', error: found }
}

function read(response: OriginResponse, progress: FillProgress): Body | GatewayError {
  const { status } = response
  if (status === 200) return readWhole(response, progress)
  if (status === 206) return readPart(response, progress)
  if (status === 404) return blobUnknown(response)
  return badResponse(`status ${status} to a blob`, response)
}

function readWhole(
  response: OriginResponse,
  { received, size }: FillProgress,
): Body | GatewayError {
  const length = lengthOf(response)
  if (size !== undefined && length !== undefined && length !== size) {
    return badResponse(`a blob of ${length} bytes, which had ${size} before`, response)
  }
  return { size: size ?? length, startsOver: received > 0 }
}

/** Also where nobody asked for a part: it may be the whole, and if not, the rest can be asked for. */
function readPart(
  response: OriginResponse,
  { from, received, size }: FillProgress,
): Body | GatewayError {
  const match = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(
    response.headers['content-range'] ?? '',
  )
  if (match === null || Number(match[1]) !== (from ?? 0)) {
    return badResponse('another part than was asked for', response)
  }
  const total = match[2] === '*' ? size : Number(match[2])
  if (size !== undefined && total !== size) {
    return badResponse(`a part of ${total} bytes, which were ${size} before`, response)
  }
  return { size: total, startsOver: from === undefined && received > 0 }
}

function tooOdd(
  response: OriginResponse,
  size: number | undefined,
  digest: Digest,
): GatewayError | undefined {
  if (size === 0 && !isDigestOfNothing(digest)) return digestMismatch(response)
  if ((size ?? 0) > blobLimit) {
    return badResponse(`a blob of ${size} bytes, beyond reason`, response)
  }
  return undefined
}

export function endedEarly(): GatewayError {
  return new GatewayError('UPSTREAM_FAILED', 'the upstream ended the blob too early; ask again', {
    reason: 'ended_early',
  })
}
