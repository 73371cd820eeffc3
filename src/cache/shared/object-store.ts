// The port between the shared tier and whatever object store is configured.
import type { Problem } from '../../errors.ts'

/** All methods reject with what `explain` understands. A `signal` also ends a body that is being read. */
export interface ObjectStore {
  /** For people: endpoint and bucket, without credentials. */
  name: string
  /** From the offset `from` on; undefined: there is no such object. The body must be read or the signal aborted. */
  get: (key: string, options: ReadOptions) => Promise<StoredObject | undefined>
  /** Bytes; undefined: there is no such object. */
  size: (key: string, signal: AbortSignal) => Promise<number | undefined>
  /** With `ifAbsent` nothing is replaced: false where there is one. */
  put: (key: string, body: Buffer, options: WriteOptions) => Promise<boolean>
  /**
   * Replaces the object that has this etag; undefined: none is there. Its new etag; undefined: another
   * one is there, and stays.
   */
  swap: (
    key: string,
    body: Buffer,
    etag: string | undefined,
    signal: AbortSignal,
  ) => Promise<string | undefined>
  /** Stores a file unless there is such an object, in parts where it is large; rejects when nothing moves any more. */
  putFile: (key: string, file: FileToStore, signal: AbortSignal) => Promise<void>
  /** Gives it another name; where the store cannot copy it, it is removed. */
  move: (key: string, target: string) => Promise<void>
  remove: (key: string) => Promise<void>
  /** Up to `mostAtOnce` of them: those that are not removed, and why. What is not there counts as removed. */
  removeAll: (keys: readonly string[], signal: AbortSignal) => Promise<KeptObject[]>
  /** Those whose keys begin with `prefix`, in the order of their keys. */
  list: (prefix: string, signal: AbortSignal) => AsyncIterable<ListedObject>
  /** How far this machine's clock is ahead of the store's, ms, by its last answer; 0 before the first. */
  ahead: () => number
  /** What an error of these methods means, in a word for the log, and which key of the config is to change. */
  explain: (error: unknown) => StoreProblem
  close: () => void
}

/** Keys of one `removeAll`, at most (S3 API, DeleteObjects). */
export const mostAtOnce = 1000

export interface WriteOptions {
  ifAbsent: boolean
  signal?: AbortSignal
}

export interface FileToStore {
  path: string
  /** Bytes. */
  size: number
  /** In base64. */
  sha256: string
}

export interface ListedObject {
  key: string
  /** Bytes. */
  size: number
  /** When it was written, by the store's clock, ms since 1970. */
  modified: number
}

export interface KeptObject {
  key: string
  reason: string
}

export interface ReadOptions {
  from?: number
  signal: AbortSignal
}

export interface StoredObject {
  /** Of the whole object, bytes. */
  size: number
  /** Another one for each body. */
  etag: string
  body: AsyncIterable<Buffer>
}

export interface StoreProblem extends Problem {
  /** Such as `credentials`, `timeout`, `full`. */
  reason: string
}
