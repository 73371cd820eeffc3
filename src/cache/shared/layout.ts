// What lies where in the bucket: content by digest, and what is known of it as small objects beside it.
import { algorithmOf, hexOf, isDigest, type Digest } from '../../oci/digest.ts'
import { blobLimit } from '../../oci/manifest.ts'
import type { Place } from '../../oci/place.ts'
import type { TagFacts } from '../index/content-index.ts'
import type { LinkKind } from '../index/links.ts'
import { objectIn } from '../lists/json-object.ts'

/** What this program writes; a bucket with a newer one is left alone. */
export const sharedFormat = 1
/** Content is passed on in pieces of this many bytes, each verified before; larger content has a list of their hashes. */
export const pieceBytes = 2 ** 20
/** Bytes of a SHA-256. */
export const hashBytes = 32

/** That a repository holds a digest. */
export interface SharedLink {
  /** Bytes of the content. */
  size: number
  /** By which the content is stored, where that is not the digest it is asked by: a signed manifest of schema 1. */
  content?: Digest
}

/** undefined: it is no link. */
export function readLink(object: Buffer): SharedLink | undefined {
  const { size, content } = (objectIn(object) ?? {}) as Partial<SharedLink>
  if (size === undefined || !Number.isSafeInteger(size)) return undefined
  if (size < 0 || size > blobLimit) return undefined
  if (content === undefined) return { size }
  return isDigest(content) ? { size, content } : undefined
}

/** What a tag object says; a time that it lacks was long ago. undefined: it is none. */
export function readTag(object: Buffer): TagFacts | undefined {
  const { digest, checkedAt } = objectIn(object) ?? {}
  if (typeof digest !== 'string' || !isDigest(digest)) return undefined
  return { digest, checkedAt: Number(checkedAt) || 0 }
}

export const formatKey = 'format'
/** Who prunes the bucket, or did so last. */
export const pruningKey = 'pruning'

export function contentKey(digest: Digest): string {
  const hex = hexOf(digest)
  return `blobs/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}`
}

/** The SHA-256 of each piece of a content that has more than one, one behind the other. */
export function hashesKey(digest: Digest): string {
  const hex = hexOf(digest)
  return `hashes/${algorithmOf(digest)}/${hex.slice(0, 2)}/${hex}`
}

/** No part of a repository's name begins with an underscore (distribution-spec). */
export function placePrefix({ upstream, repository }: Place): string {
  return `repositories/${upstream}/${repository}/_`
}

export function sharedLinkKey(place: Place, digest: Digest, kind: LinkKind): string {
  return `${placePrefix(place)}${kind}s/${algorithmOf(digest)}/${hexOf(digest)}`
}

export function tagKey(place: Place, name: string): string {
  return `${placePrefix(place)}tags/${name}`
}

export function referrersKey(place: Place, digest: Digest): string {
  return `${placePrefix(place)}referrers/${algorithmOf(digest)}/${hexOf(digest)}`
}

export function quarantineKey(digest: Digest, now: number): string {
  return `quarantine/${algorithmOf(digest)}-${hexOf(digest)}-${now}`
}

/** Which names a pruning at that time has taken from a repository; `part` counts them, as one object has not all. */
export function prunedKey(place: Place, at: number, part: number): string {
  return `${placePrefix(place)}pruned/${at}-${part}`
}

/** What an object below `repositories/` is about. */
export interface PlacedKey {
  place: Place
  kind: 'manifest' | 'blob' | 'tag' | 'referrer' | 'pruned'
  /** A digest, a tag, or for `pruned` what `prunedKey` has at its end. */
  name: string
}

const placed =
  /^repositories\/([^/]+)\/(.+?)\/_(manifest|blob|tag|referrer|pruned)s?\/(?:(sha256|sha512)\/)?([^/]+)$/

/** undefined: it is none that this version writes. */
export function readPlacedKey(key: string): PlacedKey | undefined {
  const [, upstream, repository, kind, algorithm, name] = placed.exec(key) ?? []
  if (upstream === undefined || repository === undefined || name === undefined) return undefined
  const place = { upstream, repository }
  return {
    place,
    kind: kind as PlacedKey['kind'],
    name: algorithm === undefined ? name : `${algorithm}:${name}`,
  }
}

/** The digest of content, or of its list of hashes; undefined: it is no such key. */
export function digestIn(key: string): Digest | undefined {
  const [, algorithm, hex] = /^(?:blobs|hashes)\/([^/]+)\/[^/]+\/([^/]+)$/.exec(key) ?? []
  const digest = `${algorithm}:${hex}`
  return isDigest(digest) ? digest : undefined
}

export function pieceCount(size: number): number {
  return Math.ceil(size / pieceBytes)
}
