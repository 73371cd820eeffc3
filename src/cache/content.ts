// What the cache hands out: small content whole and at once, large content to be read piece by piece.
import type { Digest } from '../oci/digest.ts'

/** Content that is in memory as a whole. Immutable, and the same object at every hit. */
export interface Small {
  kind: 'small'
  digest: Digest
  mediaType: string
  bytes: Buffer
}

/** Content on disk, or one that is still being downloaded. Must be closed, once. */
export interface Large {
  kind: 'large'
  digest: Digest
  mediaType: string
  /** Bytes; undefined while only the end of the download can tell. */
  size: number | undefined
  /**
   * Fills `buffer` with what stands at `position`, as far as it is there: the number of bytes, at
   * least 1, or 0 at the end. Answers at once where it can. Only one read may be under way. Throws
   * or rejects with GatewayError where the rest cannot be had: the last bytes of a download are
   * given only once its digest is verified.
   */
  read: (buffer: Buffer, position: number) => number | Promise<number>
  close: () => void
}

export type Content = Small | Large

/**
 * Where an answer came from, for the log and the metrics. `fill`: a download that is under way or
 * has just ended; `upstream`: passed through without being kept.
 */
export type Source = 'memory' | 'disk' | 'fill' | 'upstream'

/** Content and how it was come by. */
export interface Found<Kind extends Content = Content> {
  content: Kind
  source: Source
  /** The upstream could not be asked whether the tag still means this. */
  stale?: boolean
}
