// Looks into a cache folder as a test sees it after a command: what is stored, and what is known.
import { createHash } from 'node:crypto'
import { globSync, readdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { openIndex } from '../../src/cache/index/content-index.ts'
import { formatImage } from '../../src/transfer/image-name.ts'

/** Everything about the folder; throws where a file of the store does not hash to its name. */
export function inspectCache(dir: string) {
  const files = globSync('blobs/*/*/*', { cwd: dir })
  for (const file of files) {
    const hash = createHash('sha256')
      .update(readFileSync(join(dir, file)))
      .digest('hex')
    if (hash !== basename(file)) throw new Error(`${file} hashes to ${hash}`)
  }
  const index = openIndex(dir)
  try {
    return {
      stored: files.map((file) => `sha256:${basename(file)}`).sort(),
      known: index.contents().map(({ digest }) => digest),
      links: index.links().map((link) => formatImage(link)),
      tags: Object.fromEntries(
        index
          .tags()
          .map(({ name, digest, ...place }) => [
            `${place.upstream}/${place.repository}:${name}`,
            digest,
          ]),
      ),
      temporary: readdirSync(join(dir, 'tmp')),
    }
  } finally {
    index.close()
  }
}
