// What each process of a gateway tells of itself, and what several of them tell put together.
import type { KeptCache } from '../../cache/open-cache.ts'
import type { ListenerServer } from '../../listener/server.ts'
import type { Recent } from './recent.ts'
import { sessionsOf, sessionsOfAll, type Session } from './sessions.ts'
import { downloadView, happeningView, type Eviction } from './views.ts'

export interface ToldOptions {
  cache: Pick<KeptCache, 'downloads'>
  /** Whose connections are told. */
  servers: () => readonly ListenerServer[]
  /** Lines of the audit. */
  refusals: Recent<Readonly<Record<string, unknown>>>
  evictions: Recent<Eviction>
}

type Happened = { at: string } & Readonly<Record<string, unknown>>

export interface Told {
  downloads: readonly ReturnType<typeof downloadView>[]
  sessions: readonly Session[]
  /** The newest first. */
  refusals: readonly Happened[]
  evictions: readonly Happened[]
}

/** Returns what asks this process. */
export function tellingOf(options: ToldOptions): () => Told {
  const { cache, servers, refusals, evictions } = options
  return () => ({
    downloads: cache.downloads().map(downloadView),
    sessions: sessionsOf(servers()),
    refusals: refusals.all().map((one) => happeningView(one)),
    evictions: evictions.all().map((one) => ({ ...happeningView(one) })),
  })
}

/** Of each process its own, this one first. */
export const together: { [Name in keyof Told]: (all: readonly Told[Name][]) => Told[Name] } = {
  downloads: (all) => all.flat(),
  sessions: sessionsOfAll,
  refusals: newestFirst,
  evictions: newestFirst,
}

function newestFirst(all: readonly (readonly Happened[])[]): Happened[] {
  return all.flat().toSorted((one, other) => Date.parse(other.at) - Date.parse(one.at))
}
