// What a gateway fetches although no client waits for it: ahead of clients, and for its shelf.
import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import type { Cache } from '../cache/cache.ts'
import type { Config } from '../config/schema.ts'
import { createRewriter } from '../rules/rewrite.ts'
import { createPrefetch, type Prefetch } from './prefetch.ts'
import { createShelfKeeper } from './shelf/keeper.ts'
import type { ShelfRow } from './shelf/schema.ts'

export interface Background extends Pick<Prefetch, 'note'> {
  /** Keeps the shelf that the config has now. */
  follow: () => void
  shelf: () => readonly ShelfRow[]
  /** Begins nothing more; what is under way ends with the cache. */
  stop: () => Promise<void>
}

export interface BackgroundOptions {
  cache: Cache
  /** The cache folder. */
  dir: string
  /** The one in use. */
  config: () => Config
  log: Logger
}

export function createBackground({ cache, dir, config, log }: BackgroundOptions): Background {
  const modeOf = (upstream: string) => config().upstreams[upstream]?.prefetch ?? 'none'
  const prefetch = createPrefetch({ cache, modeOf, log })
  const keeper = createShelfKeeper({ cache, dir, log })
  let followed: unknown
  return {
    note: prefetch.note,
    follow() {
      const { shelf, upstreams, defaultUpstream } = config()
      const next = { shelf, upstreams, defaultUpstream }
      if (isDeepStrictEqual(next, followed)) return
      followed = next
      keeper.keep(shelf.entries, { config: next, rewrite: createRewriter(upstreams) })
    },
    shelf: keeper.rows,
    async stop() {
      prefetch.stop()
      await keeper.stop()
    },
  }
}
