// What lies where in the bucket: content by digest, and what is known of it as small objects beside it.
import { algorithmOf, hexOf, type Digest } from '../../oci/digest.ts'
import type { Place } from '../../oci/place.ts'
import type { LinkKind } from '../index/links.ts'

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

export const formatKey = 'format'

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

export function pieceCount(size: number): number {
  return Math.ceil(size / pieceBytes)
}
