// What a bucket that replicas share holds, looked at by hand.
import { isDigest, type Digest } from '../../src/oci/digest.ts'
import { readManifest } from '../../src/oci/manifest.ts'
import { contentKey, readPlacedKey, sharedLinkKey } from '../../src/cache/shared/layout.ts'
import { pruneStore, type StorePruningOptions } from '../../src/cache/shared/pruning/prune-store.ts'
import type { MemoryStore } from './memory-store.ts'

export const day = 24 * 3_600_000

/** Names that lack something: a link without content, a tag or a manifest without what it means or lists. */
export function lacking({ objects }: MemoryStore): string[] {
  const missing: string[] = []
  for (const [key, { body }] of objects) {
    const { place, kind, name = '' } = readPlacedKey(key) ?? {}
    if (place === undefined) continue
    if (kind === 'tag') {
      const { digest } = JSON.parse(body.toString()) as { digest: Digest }
      if (!objects.has(sharedLinkKey(place, digest, 'manifest'))) missing.push(`${key}: ${digest}`)
    }
    if ((kind !== 'manifest' && kind !== 'blob') || !isDigest(name)) continue
    const content = objects.get(contentKey(name))
    if (content === undefined) missing.push(key)
    else if (kind === 'manifest') {
      for (const child of readManifest(content.body).children) {
        const links = (['manifest', 'blob'] as const).map((as) => sharedLinkKey(place, child, as))
        if (!links.some((link) => objects.has(link))) missing.push(`${key}: ${child}`)
      }
    }
  }
  return missing
}

/** Tags, and digests of content. */
export function holding({ objects }: MemoryStore): { tags: string[]; contents: Set<string> } {
  const keys = [...objects.keys()]
  const tags = keys.map(readPlacedKey).flatMap((key) => (key?.kind === 'tag' ? key.name : []))
  const contents = keys.flatMap((key) => /^blobs\/(\w+)\/..\/(\w+)$/.exec(key)?.slice(1) ?? [])
  const digests = Array.from({ length: contents.length / 2 }, (_, at) =>
    contents.slice(at * 2, at * 2 + 2).join(':'),
  )
  return { tags: tags.sort(), contents: new Set(digests) }
}

/** Prunes without waiting for replicas: what went, what is left, and what was told. */
export async function prune(
  store: MemoryStore,
  dir: string,
  filter: StorePruningOptions['filter'],
  changes: Partial<StorePruningOptions> = {},
) {
  const told: string[] = []
  const steps = pruneStore({
    store,
    filter,
    dir,
    isDryRun: false,
    holder: 'a test',
    tell: (sentence) => void told.push(sentence),
    signal: new AbortController().signal,
    settle: 0,
    ...changes,
  })
  const gone: string[] = []
  for (;;) {
    const { done, value } = await steps.next()
    if (done) return { gone, left: value, told }
    gone.push(value.names.map(({ reference }) => reference).join() || value.digest)
  }
}
