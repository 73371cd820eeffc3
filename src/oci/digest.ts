// Content digests as the OCI image specification writes them: `<algorithm>:<lower-case hex>`.
import { createHash, type Hash } from 'node:crypto'

const hexLength = { sha256: 64, sha512: 128 } as const
const hexOnly = /^[a-f0-9]+$/

export type DigestAlgorithm = keyof typeof hexLength

/** `sha256:<64 hex>` or `sha512:<128 hex>`, known to be well-formed. */
export type Digest = `${DigestAlgorithm}:${string}`

/** Whether `text` is a digest in one of the two algorithms that registries must accept. */
export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(':')
  const length = hexLength[text.slice(0, colon) as DigestAlgorithm] as number | undefined
  return length === text.length - colon - 1 && hexOnly.test(text.slice(colon + 1))
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.slice(0, digest.indexOf(':')) as DigestAlgorithm
}

export function hexOf(digest: Digest): string {
  return digest.slice(digest.indexOf(':') + 1)
}

/** A running hash of the digest's algorithm. */
export function hasherFor(digest: Digest): Hash {
  return createHash(algorithmOf(digest))
}

/** The digest of `bytes`, sha256 unless told otherwise. */
export function digestOf(bytes: Buffer | string, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** Whether it is the digest of no bytes at all: of every other blob, no bytes are wrong bytes. */
export function isDigestOfNothing(digest: Digest): boolean {
  return digestOf('', algorithmOf(digest)) === digest
}
