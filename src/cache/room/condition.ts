// How the cache is: for whoever watches the site, and for whoever is asked whether it is ready.
import { statfs } from 'node:fs/promises'
import type { Condition } from '../cache.ts'
import type { Context } from '../context.ts'
import type { RoomLimits } from './limits.ts'

/** What is wrong, one sentence each. */
export async function cacheProblems({
  store,
  index,
  room,
  storageProblems,
  shared,
}: Context): Promise<string[]> {
  const code = await store.problem()
  return [
    ...(code === undefined ? [] : [`the cache folder cannot be written (${code})`]),
    ...(index.isVolatile()
      ? ['the index of the cache cannot be written: it is in memory only']
      : []),
    ...storageProblems.recent(),
    ...room.problems(),
    ...(shared?.problems() ?? []),
  ]
}

export async function cacheCondition(
  { store, index, storageProblems }: Context,
  { maxBytes }: RoomLimits,
): Promise<Condition> {
  const [disk, code] = await Promise.all([
    statfs(store.folder.blobs).catch(() => undefined),
    store.problem(),
  ])
  let holding = { bytes: 0, entries: 0 }
  storageProblems.guard('reading the index of the cache', () => {
    holding = index.current().holding()
  })
  return {
    heldBytes: holding.bytes,
    entries: holding.entries,
    maxBytes,
    freeBytes: disk === undefined ? undefined : disk.bavail * disk.bsize,
    degraded: {
      folder: code !== undefined,
      index: index.isVolatile(),
      storing: storageProblems.recent().length > 0,
    },
  }
}
