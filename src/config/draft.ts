// The config on its way from the file: decoded, but not yet checked as a whole.
import type { Config, UpstreamConfig } from './schema.ts'
import type { ShelfEntry } from './shelf/schema.ts'

/** An upstream as the file has it: what follows from its name may be missing still. */
export type UpstreamDraft = Omit<UpstreamConfig, Completed> &
  Partial<Pick<UpstreamConfig, Completed>>

type Completed = 'redirects' | 'foreignLayers'

export type ConfigDraft = Omit<Config, 'upstreams' | 'shelf'> & {
  upstreams: Record<string, UpstreamDraft>
  /** A path of its own file, or what it is. */
  shelf: string | ShelfEntry[]
}

/** Whether a key that is there is wrong, or one that is not there is missed. */
export type Cause = 'present' | 'absent'

/** Takes note of a broken rule: keys from the top of the config, and a sentence; `present` unless told. */
export type TellAt = (at: readonly string[], message: string, cause?: Cause) => void
