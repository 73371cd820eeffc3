// What the least program is told, and what its parts share.
import type { Upstream } from './upstream.ts'

export type Step = 'upstream' | 'hash' | 'file' | 'sync' | 'index' | 'client' | 'log'

export interface Settings {
  folder: string
  /** Contents of PEM files. */
  ca: string
  server: { cert: string; key: string }
  client: { cert: string; key: string }
  originPort: number
  /** Bytes of every blob, for an upstream in memory. */
  size: number
  without: readonly Step[]
}

export interface Steps {
  folder: string
  upstream: Upstream
  has: (step: Step) => boolean
  /** One line of the access log. */
  log: (line: string) => void
}
