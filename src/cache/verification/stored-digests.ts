// Lists what is stored by the folders that it lies in, in the order of their names.
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../../errors.ts'
import { isDigest, type Digest, type DigestAlgorithm } from '../../oci/digest.ts'

/** What the digests in one folder of content begin with, such as `sha256:0f`. */
export type Prefix = `${DigestAlgorithm}:${string}`

/** Every one that there may be, in their order. */
export const prefixes: readonly Prefix[] = (['sha256', 'sha512'] as const).flatMap((algorithm) =>
  Array.from(
    { length: 256 },
    (_, byte): Prefix => `${algorithm}:${byte.toString(16).padStart(2, '0')}`,
  ),
)

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
