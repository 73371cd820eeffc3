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

/** Of these there are folders; those of which nobody can tell are among them. */
export async function prefixesIn(blobs: string): Promise<Prefix[]> {
  const folders = {
    sha256: await namesIn(join(blobs, 'sha256')),
    sha512: await namesIn(join(blobs, 'sha512')),
  }
  return prefixes.filter((prefix) => {
    const [algorithm, start] = prefix.split(':') as [DigestAlgorithm, string]
    return folders[algorithm]?.includes(start) !== false
  })
}

/** None where there is no such folder, undefined where it cannot be read. */
async function namesIn(folder: string): Promise<string[] | undefined> {
  try {
    return await readdir(folder)
  } catch (error) {
    return systemCode(error) === 'ENOENT' ? [] : undefined
  }
}

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
