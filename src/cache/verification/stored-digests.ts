// Lists what is stored by the folders that it lies in.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../../errors.ts'
import { isDigest, type Digest, type DigestAlgorithm } from '../../oci/digest.ts'

/** What the digests in one folder of content begin with, such as `sha256:0f`; a digest is one as well. */
export type Prefix = `${DigestAlgorithm}:${string}`

/** Every one that there may be; content is spread over them evenly. */
export const prefixes: readonly Prefix[] = Array.from({ length: 256 }, (_, byte) =>
  byte.toString(16).padStart(2, '0'),
).flatMap((start): Prefix[] => [`sha256:${start}`, `sha512:${start}`])

/** Sorted; none where there is no such folder. Rejects where it cannot be read. */
export async function digestsBelow(blobs: string, start: Prefix): Promise<Digest[]> {
  const [algorithm = '', prefix = ''] = start.split(':')
  try {
    const names = await readdir(join(blobs, algorithm, prefix))
    return names
      .map((hex) => `${algorithm}:${hex}`)
      .filter((name): name is Digest => isDigest(name) && name.startsWith(start))
      .sort()
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}
