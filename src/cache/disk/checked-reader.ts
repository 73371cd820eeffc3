// Hashes a stored file while it is read as a whole, and withholds the last bytes until it is right.
import { GatewayError } from '../../errors.ts'
import { hasherFor, hexOf } from '../../oci/digest.ts'
import type { Large } from '../cache.ts'

/**
 * A read that begins elsewhere, or goes on elsewhere than where the last one ended, ends the check:
 * whoever wants a part has to hash it with the rest.
 * @param report called once, where all of it was read: whether it hashes to its name
 */
export function withCheck(reader: Large, report: (isRight: boolean) => void): Large {
  const { digest, size, mediaType } = reader
  let hash = size === undefined ? undefined : hasherFor(digest)
  let expected = 0

  function passed(buffer: Buffer, position: number, bytes: number): number {
    if (hash === undefined) return bytes
    if (position !== expected) {
      hash = undefined
      return bytes
    }
    hash.update(buffer.subarray(0, bytes))
    expected += bytes
    if (expected !== size) return bytes
    const isRight = hash.digest('hex') === hexOf(digest)
    hash = undefined
    report(isRight)
    if (isRight) return bytes
    throw new GatewayError('UNAVAILABLE', 'a cached file had been altered; ask again', {
      reason: 'cache_damaged',
    })
  }

  return {
    kind: 'large',
    digest,
    mediaType,
    size,
    read(buffer, position) {
      const read = reader.read(buffer, position)
      if (typeof read === 'number') return passed(buffer, position, read)
      return read.then((bytes) => passed(buffer, position, bytes))
    },
    close: reader.close,
  }
}
