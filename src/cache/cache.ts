// The cache as the registry's routes see it.
import type { GatewayError } from '../errors.ts'
import type { Digest } from '../oci/digest.ts'
import type { AtHand } from '../oci/origin.ts'
import type { Place } from '../oci/place.ts'
import type { LinkKind } from './index/links.ts'
import type { Inventory } from './room/inventory.ts'

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
   * given only once its digest is verified. `end` is the offset behind the last byte that will be
   * wanted in a row, the end of the content unless told: where that is far ahead of a download, it may
   * be fetched by itself, and is not verified then.
   */
  read: (buffer: Buffer, position: number, end?: number) => number | Promise<number>
  /**
   * The same without a copy, where it is in memory, to several at once; false: it has to be read, or is the end.
   */
  lend?: (position: number, end?: number) => Loan | false | Promise<Loan | false>
  /** Calls back, once at most, when the rest cannot be had any more although nobody is reading. */
  onBroken?: (listener: (error: GatewayError) => void) => void
  /** Whether some of what was read was fetched by itself, and is not kept. */
  isPassedOn?: () => boolean
  close: () => void
}

/** Bytes that stay as they are until they are given back, which has to be done once. */
export interface Loan {
  bytes: Buffer
  giveBack: () => void
}

export type Content = Small | Large

/** What an operator wants to know the number of. */
export type CacheEvent =
  /** A stored file could not be read, and was fetched again. */
  | 'unreadable_file'
  /** A stored file did not hash to its name. */
  | 'wrong_file'
  /** A file that the index has was not in its folder. */
  | 'missing_file'
  /** It kept others waiting for what cannot be stored, and lost its place. */
  | 'slow_reader'
  /** A part far ahead of a download was fetched by itself, and not kept. */
  | 'far_read'
  /** The index was of no use, and was made anew. */
  | 'damaged_index'
  /** The index was gone, and was made anew. */
  | 'missing_index'

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

type Sync<T> = T | Promise<T>

/** One entry of a referrers list, as the upstream describes it (image-spec "descriptor"). */
export interface Descriptor {
  mediaType: string
  digest: Digest
  size: number
  artifactType?: string
  annotations?: Record<string, string>
}

/** A list that was asked for upstream, or what is known while it cannot be asked. */
export interface Listed<T> {
  entries: readonly T[]
  source: Source
  stale: boolean
}

/** How the cache is, for whoever watches the site. */
export interface Condition {
  /** Bytes of its file system that are free for it; undefined where that cannot be told. */
  freeBytes: number | undefined
  /** Its folder cannot be written; its index is in memory; something was not stored in the last minute. */
  degraded: Record<'folder' | 'index' | 'storing', boolean>
  /** All content: its bytes, how many there are, and the most that it may take; 0 while that is not known. */
  heldBytes: number
  entries: number
  maxBytes: number
}

/** Whether an upstream rests as a whole. */
export interface Circuit {
  /** `half-open`: the rest is over, and nobody has had an answer since. */
  state: 'closed' | 'open' | 'half-open'
  /** Unless it is closed: a word of docs/reference/errors.md. */
  reason?: string
  /** Since when, and when it is asked again at the earliest; ms since 1970. */
  since?: number
  nextProbe?: number
}

/** Methods that may answer at once do so where memory has the answer. All reject with GatewayError. */
export interface Cache {
  /** MANIFEST_UNKNOWN, NAME_UNKNOWN, DENIED, UPSTREAM_FAILED, UPSTREAM_TIMEOUT, UNAVAILABLE. */
  manifest: (place: Place, digest: Digest) => Sync<Found<Small>>
  /** The manifest that a tag means; the upstream is asked where that is older than `tagTtl`. */
  tag: (place: Place, tag: string) => Sync<Found<Small>>
  /** What the upstream says now that a tag means, without taking it over; undefined: it does not say. */
  resolveTag: (place: Place, tag: string) => Promise<Digest | undefined>
  /** A blob; where the cache lacks it its download is started or followed. BLOB_UNKNOWN. */
  blob: (place: Place, digest: Digest) => Sync<Found>
  /**
   * `here`: the repository is known to hold it, and it is stored or on its way from the upstream itself, so that
   * asking for it makes nothing be fetched, and waits for no other replica. `elsewhere`: a blob that another
   * repository of the upstream has brought, which has to confirm that this one holds it, too.
   */
  atHand: (place: Place, digest: Digest, kind: LinkKind) => AtHand
  /** The size of a blob in bytes, without downloading it. */
  blobSize: (place: Place, digest: Digest) => Sync<{ size: number; source: Source }>
  /** All tags, sorted; while the upstream cannot be asked, those that the cache holds. */
  tags: (place: Place) => Promise<Listed<string>>
  /**
   * All repositories of an upstream, sorted; while it cannot be asked, those that the cache holds.
   * UNSUPPORTED, DENIED: it tells nobody.
   */
  catalog: (upstream: string) => Promise<Listed<string>>
  /** Whether the file of a blob is there, once a download that is under way has ended. */
  isStored: (digest: Digest) => Promise<boolean>
  /** All manifests whose subject is `digest`, whatever their artifact type. */
  referrers: (place: Place, digest: Digest) => Promise<Listed<Descriptor>>
  /** Whether an upstream rests as a whole. */
  circuit: (upstream: string) => Circuit
  /**
   * Every repository that the cache holds a tag or a manifest of, sorted by `upstream/repository`, in
   * pieces; only those behind the name `after` where it is given.
   */
  repositories: (after?: string) => AsyncIterable<Place[]>
  /** What it holds, and what takes things out of it. */
  inventory: Inventory
  /** What keeps the cache from storing, one sentence each; nothing when it is well. */
  problems: () => Promise<string[]>
  condition: () => Promise<Condition>
  /** Ends downloads, writes what is batched, closes the files. */
  close: () => Promise<void>
}
