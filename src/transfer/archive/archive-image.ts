// An image as an archive holds it, and what becomes of it: the port between the formats and the store.
import type { Digest } from '../../oci/digest.ts'
import type { ImageDescriptor } from '../documents.ts'
import type { GivenName } from '../image-name.ts'

/** One image of an archive, of whichever format. */
export interface ArchiveImage {
  /** What messages call it when it has no name. */
  entry: string
  /** What the archive calls it; empty when it says nothing. */
  names: GivenName[]
  /** What `store` will read, in bytes, as far as it is known. */
  bytes: number
  /** Brings all content into `sink`. Throws BadArchive, naming the entry that is wrong. */
  store: (sink: Sink) => Promise<StoredImage>
}

export interface StoredManifest {
  digest: Digest
  bytes: Buffer
  mediaType: string
}

export interface StoredImage {
  /** The manifest or index that the names stand for. */
  root: Digest
  /** The root, what it lists, and what refers to them. */
  manifests: StoredManifest[]
  /** Configs and layers. */
  blobs: ImageDescriptor[]
  /** Platforms that an index lists and the archive does not hold, such as `linux/arm64`. */
  absent: string[]
}

/** Takes one piece of content. */
export type Append = (chunk: Buffer) => Promise<void>

/** Where content goes. */
export interface Sink {
  has: (digest: Digest) => Promise<boolean>
  /**
   * Keeps what `produce` appends, unless it is there already; nothing where that throws.
   * @param expected throws BadArchive, naming `entry`, where the content has another digest;
   *   `undefined` where only the content can tell
   */
  keep: (
    entry: string,
    expected: Digest | undefined,
    produce: (append: Append) => Promise<void>,
  ) => Promise<{ digest: Digest; size: number }>
}
