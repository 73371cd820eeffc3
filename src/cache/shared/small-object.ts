// Reads objects that are small by what they are: what lies there in their place may be of any size.
import { joined } from '../../oci/body-collector.ts'
import type { StoredObject } from './object-store.ts'

/** The largest that this program writes is a record of a pruning, bytes. */
const largest = 8 * 2 ** 20

/** All bytes; undefined: they are more than `limit`, so that it is nothing of ours. */
export async function readSmallObject(
  { body }: StoredObject,
  limit = largest,
): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > limit) return undefined
    chunks.push(chunk)
  }
  return joined(chunks)
}
