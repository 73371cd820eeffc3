// The tier in front of disk and index: small content, links and tags, so that a warm hit costs
// neither a file nor a query.
import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import type { Place } from '../oci/place.ts'
import type { TagFacts } from './index/content-index.ts'
import type { ContentFacts } from './index/content-queries.ts'
import type { LinkKind } from './index/links.ts'
import type { Small } from './cache.ts'
import type { Gone } from './room/removals.ts'
import type { TolerantIndex } from './index/tolerant-index.ts'

/** Blobs up to this many bytes are kept in memory as a whole; manifests always are. */
export const smallLimit = 256 * 1024

/** Reads go to the index where memory has no answer; writes to both, and never fail. */
export interface Memory {
  small: (digest: Digest) => Small | undefined
  keep: (small: Small) => void
  /** The file behind it is gone or wrong. */
  forget: (digest: Digest) => void
  /** It was removed from the index. */
  removed: (gone: Gone) => void
  isLinked: (place: Place, digest: Digest, kind: LinkKind) => boolean
  link: (place: Place, digest: Digest, kind: LinkKind) => void
  tag: (place: Place, name: string) => TagFacts | undefined
  /** `checkedAt`: when an upstream was asked, ms since 1970; now unless told. */
  setTag: (place: Place, name: string, digest: Digest, checkedAt?: number) => void
  dropTag: (place: Place, name: string) => void
  /** The file was stored, or found to be right. */
  stored: (digest: Digest, facts: Pick<ContentFacts, 'mediaType' | 'size' | 'mtime'>) => void
  /** It was asked for; written to the index by `flush`. */
  touch: (digest: Digest) => void
  flush: () => void
  /** Another process has changed the index. */
  reload: () => void
}

export interface MemoryOptions {
  index: TolerantIndex
  /** For small content; what is known of tags and links is bounded by itself. */
  bytes: number
  now: () => number
}

/** For links, and for tags: names and digests are what clients and upstreams make them, bytes. */
const mostNames = 8 * 2 ** 20
/** Contents that were asked for, and are not yet told to the index, at most. */
const mostTouched = 20_000

/** With what an entry takes beside it. */
function bytesOfKey(_value: unknown, key: string): number {
  return 2 * key.length + 128
}

const bits: Record<LinkKind, number> = { manifest: 1, blob: 2 }

export function createMemory({ index, bytes, now }: MemoryOptions): Memory {
  const smalls = new LRUCache<Digest, Small>({
    maxSize: Math.max(1, bytes),
    sizeCalculation: (small) => small.bytes.length + 512,
  })
  const links = new LRUCache<string, number>({ maxSize: mostNames, sizeCalculation: bytesOfKey })
  const tags = new LRUCache<string, TagFacts>({ maxSize: mostNames, sizeCalculation: bytesOfKey })
  const touched = new Map<Digest, number>()

  function linksOf(place: Place, digest: Digest): number {
    const key = linkKey(place, digest)
    const known = links.get(key)
    if (known !== undefined) return known
    const found = index.linkKinds(place, digest).reduce((all, kind) => all | bits[kind], 0)
    if (found !== 0) links.set(key, found)
    return found
  }

  function flush(): void {
    if (touched.size === 0) return
    index.touchContents(new Map(touched))
    touched.clear()
  }

  return {
    small: (digest) => smalls.get(digest),
    keep: (small) => void smalls.set(small.digest, small),
    forget(digest) {
      smalls.delete(digest)
      index.dropContent(digest)
    },
    removed(gone) {
      for (const digest of gone.digests) {
        smalls.delete(digest)
        touched.delete(digest)
      }
      for (const link of gone.links) links.delete(linkKey(link, link.digest))
      for (const tag of gone.tags) tags.delete(tagKey(tag, tag.reference))
    },
    isLinked: (place, digest, kind) => (linksOf(place, digest) & bits[kind]) !== 0,
    link(place, digest, kind) {
      const known = linksOf(place, digest)
      if ((known & bits[kind]) !== 0) return
      links.set(linkKey(place, digest), known | bits[kind])
      index.addLink(place, digest, kind)
    },
    tag(place, name) {
      const key = tagKey(place, name)
      const known = tags.get(key) ?? index.tag(place, name)
      if (known !== undefined) tags.set(key, known)
      return known
    },
    setTag(place, name, digest, checkedAt = now()) {
      tags.set(tagKey(place, name), { digest, checkedAt })
      index.setTag(place, name, digest, checkedAt)
    },
    dropTag(place, name) {
      tags.delete(tagKey(place, name))
      index.dropTag(place, name)
    },
    stored: (digest, facts) => index.addContent(digest, facts, now()),
    touch(digest) {
      touched.set(digest, now())
      if (touched.size >= mostTouched) flush()
    },
    flush,
    reload() {
      links.clear()
      tags.clear()
    },
  }
}

/** No upstream's name has a slash, so no two places have the same key. */
export function placeKey({ upstream, repository }: Place): string {
  return `${upstream}/${repository}`
}

export function linkKey(place: Place, digest: Digest): string {
  return `${place.upstream}/${place.repository}@${digest}`
}

function tagKey(place: Place, name: string): string {
  return `${place.upstream}/${place.repository}:${name}`
}
