// Decides what goes with an image: all that is below it and that nothing else needs. Pure.
import type { Digest } from '../../oci/digest.ts'

/** What is stored, and how it hangs together. */
export interface ContentGraph {
  /** What it refers to, there or not. */
  children: (digest: Digest) => readonly Digest[]
  /** What is there and refers to it. */
  holders: (digest: Digest) => Iterable<Digest>
  /** It is there. */
  isStored: (digest: Digest) => boolean
  /** It stays although nothing refers to it any more: it has a name of its own, or a pin. */
  staysAlone: (digest: Digest) => boolean
}

/**
 * What goes when `root` goes, itself first; nothing where something else that stays needs it.
 * @param gone what went before; what goes now is added
 */
export function partsOf(
  root: Digest,
  graph: ContentGraph,
  gone: Set<Digest> = new Set(),
): Digest[] {
  if (gone.has(root) || !graph.isStored(root) || isNeeded(root, graph, gone)) return []
  gone.add(root)
  const going = [root]
  // Whoever refers to something last finds that all others go.
  for (const digest of going) {
    for (const child of graph.children(digest)) {
      if (gone.has(child) || !graph.isStored(child)) continue
      if (graph.staysAlone(child) || isNeeded(child, graph, gone)) continue
      gone.add(child)
      going.push(child)
    }
  }
  return going
}

/** Something that stays refers to it. */
function isNeeded(digest: Digest, { holders }: ContentGraph, gone: ReadonlySet<Digest>): boolean {
  for (const holder of holders(digest)) if (!gone.has(holder)) return true
  return false
}
