// The bytes that an upstream sends a second time: they are dropped, but have to be the same.
import { hasherFor, type Digest } from '../oci/digest.ts'

export interface Prefix {
  /** Returns what of the chunk is behind the prefix. */
  skip: (chunk: Buffer) => Buffer
  isComplete: () => boolean
  /** In hex; to be called once, when it is complete. */
  hash: () => string
}

/** @param length bytes that are there already */
export function createPrefix(digest: Digest, length: number): Prefix {
  const hash = hasherFor(digest)
  let left = length
  return {
    skip(chunk) {
      const again = chunk.subarray(0, left)
      hash.update(again)
      left -= again.length
      return chunk.subarray(again.length)
    },
    isComplete: () => left === 0,
    hash: () => hash.digest('hex'),
  }
}
