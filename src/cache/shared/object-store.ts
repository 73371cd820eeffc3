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
  put: (key: string, body: Buffer, options: { ifAbsent: boolean }) => Promise<boolean>
  /** Stores a file unless there is such an object, in parts where it is large; `sha256` in base64, where it is known. */
  putFile: (key: string, file: string, size: number, sha256: string | undefined) => Promise<void>
  /** Gives it another name; where the store cannot copy it, it is removed. */
  move: (key: string, target: string) => Promise<void>
  remove: (key: string) => Promise<void>
  /** The keys that begin with `prefix`. */
  list: (prefix: string, signal: AbortSignal) => AsyncIterable<string>
  /** What an error of these methods means, in a word for the log, and which key of the config is to change. */
  explain: (error: unknown) => StoreProblem
  close: () => void
}

export interface ReadOptions {
  from?: number
  signal: AbortSignal
}

export interface StoredObject {
  /** Of the whole object, bytes. */
  size: number
  body: AsyncIterable<Buffer>
}

export interface StoreProblem extends Problem {
  /** Such as `credentials`, `timeout`, `full`. */
  reason: string
}
