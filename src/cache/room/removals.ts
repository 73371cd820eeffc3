// Takes images out of the store: first the files, so that a crash leaves nothing that nobody knows of,
// then what the index and the memory know of them, then the room that they take.
import type { Digest } from '../../oci/digest.ts'
import type { Index } from '../index/content-index.ts'
import type { Link } from '../index/links.ts'
import type { Reference } from '../index/image-queries.ts'
import type { Place } from '../../oci/place.ts'
import type { Store } from '../store.ts'
import { partsOf, type ContentGraph } from './parts.ts'

/** What is not there any more, for whoever remembers it. */
export interface Gone {
  digests: readonly Digest[]
  links: readonly Link[]
  tags: readonly Reference[]
}

/** What counts as gone already: contents, and names. */
export interface Taken {
  digests: Set<Digest>
  names: Set<string>
}

export interface Removals {
  /**
   * What would go, itself first: nothing where other names or other images need it.
   * @param names those that it loses
   * @param taken what went before; what goes now is added
   */
  partsOf: (root: Digest, names: readonly Reference[], taken?: Taken) => Digest[]
  /** The same for whoever makes room: what refers to it has a time of its own. */
  partsToEvict: (root: Digest) => Digest[]
  /** Whether any of it is being read, or fetched. */
  isInUse: (root: Digest, parts: readonly Digest[]) => boolean
  /**
   * Removes them, and the names; resolves to the bytes that are free now. Rejects as the file system
   * does where a file cannot be removed: then it stays known.
   */
  remove: (parts: readonly Digest[], names: readonly Reference[]) => Promise<number>
}

export interface RemovalsOptions {
  store: Pick<Store, 'takeOut'>
  index: () => Index
  /** Somebody is reading it, or it is being fetched. */
  isBusy: (digest: Digest) => boolean
  /** A manifest that is being stored: it is not there yet, and what it lists is needed already. */
  isArriving: (digest: Digest) => boolean
  onGone: (gone: Gone) => void
}

export function createRemovals({
  store,
  index,
  isBusy,
  isArriving,
  onGone,
}: RemovalsOptions): Removals {
  function forget(known: readonly Known[], names: readonly Reference[]): Gone {
    const now = index()
    const gone = { digests: [] as Digest[], links: [] as Link[], tags: [] as Reference[] }
    const dropLinks = (links: readonly Link[]) => {
      for (const link of links) now.dropLink(link, link.digest)
      gone.links.push(...links)
    }
    const dropDigest = (name: Reference) =>
      dropLinks(now.links({ digest: name.reference as Digest }).filter((link) => isAt(name, link)))
    const dropTag = (name: Reference) => {
      const digest = now.storedAs(name)
      now.dropTag(name, name.reference)
      gone.tags.push(name)
      // What others list is pulled by its digest, too. All else would be an image without a name now.
      if (digest === undefined || now.standing(digest) === 'below') return
      now
        .namesOf(digest)
        .filter((other) => isDigestOf(other) && isAt(name, other))
        .forEach(dropDigest)
    }
    now.transaction(() => {
      for (const name of names) (isDigestOf(name) ? dropDigest : dropTag)(name)
      for (const { digest, mtime } of known) {
        const aliases = [digest, ...now.parentsOf(digest, 'signed')]
        // It may have been fetched again since.
        if (!now.dropStored(digest, mtime)) continue
        gone.digests.push(...aliases)
        for (const alias of aliases) dropLinks(now.links({ digest: alias }))
      }
    })
    return gone
  }

  return {
    partsOf(root, names, taken = { digests: new Set(), names: new Set() }) {
      const now = index()
      for (const name of names) taken.names.add(keyOf(name))
      const isNameless = now.namesOf(root).every((name) => taken.names.has(keyOf(name)))
      const graph = contentGraph(now, { withReferrers: true, lostNames: taken.names, isArriving })
      return isNameless ? partsOf(root, graph, taken.digests) : []
    },
    partsToEvict: (root) => partsOf(root, contentGraph(index(), { isArriving })),
    isInUse: (root, parts) =>
      parts.some(isBusy) ||
      index()
        .partsOf(root)
        .some(({ digest }) => isBusy(digest)),
    async remove(parts, names) {
      const going = knownOf(index(), parts)
      const erasures: (() => Promise<void>)[] = []
      try {
        // All in one go: nobody finds half of it, and what comes again comes after it.
        for (const { digest } of going) erasures.push(store.takeOut(digest))
        onGone(forget(going, names))
      } finally {
        await Promise.all(erasures.map(async (erase) => erase()))
      }
      return going.reduce((sum, { size }) => sum + size, 0)
    },
  }
}

/**
 * @param options.withReferrers what has it as its subject goes with it
 * @param options.lostNames tags that count as gone already
 * @param options.isArriving what is taken for stored although it is not yet
 */
export function contentGraph(
  index: Index,
  options: {
    withReferrers?: boolean
    lostNames?: ReadonlySet<string>
    isArriving?: (digest: Digest) => boolean
  } = {},
): ContentGraph {
  const { withReferrers = false, lostNames = new Set(), isArriving = () => false } = options
  const hasTag = (digest: Digest) =>
    index.isTagged(digest) &&
    index.namesOf(digest).some((name) => !isDigestOf(name) && !lostNames.has(keyOf(name)))
  return {
    children: (digest) => [
      ...index.childrenOf(digest),
      ...(withReferrers ? index.parentsOf(digest, 'subject') : []),
    ],
    *holders(digest) {
      yield* index.holdersOf(digest)
      yield* index.parentsOf(digest).filter(isArriving)
    },
    isStored: (digest) => index.standing(digest) !== undefined,
    staysAlone: (digest) => index.standing(digest) === 'kept' || hasTag(digest),
  }
}

/** Images that list one subject, as far as they are looked at. */
const mostAbove = 100

/** What it is about, or an image that lists that, is pinned, and both are of one repository. */
export function refersToKept(index: Index, digest: Digest): boolean {
  const links = index.links({ digest })
  const subjects = index
    .childrenOf(digest, 'subject')
    .filter((subject) => links.some((link) => index.linkKinds(link, subject).length > 0))
  const above = new Set(subjects)
  for (const one of above) {
    if (index.standing(one) === 'kept') return true
    for (const holder of index.holdersOf(one)) if (above.size < mostAbove) above.add(holder)
  }
  return false
}

function keyOf({ upstream, repository, reference }: Reference): string {
  return `${upstream}/${repository}@${reference}`
}

interface Known {
  digest: Digest
  size: number
  mtime: number
}

function knownOf(index: Index, parts: readonly Digest[]): Known[] {
  return parts.flatMap((digest) => {
    const facts = index.content(digest)
    return facts === undefined ? [] : [{ digest, size: facts.size, mtime: facts.mtime }]
  })
}

/** The name is a digest: no tag has a colon. */
export function isDigestOf({ reference }: Reference): boolean {
  return reference.includes(':')
}

export function isAt(one: Place, other: Place): boolean {
  return one.upstream === other.upstream && one.repository === other.repository
}
