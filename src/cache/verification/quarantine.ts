// Where wrong content is kept for whoever wants to know, but neither for ever nor without a bound.
import { lstat, opendir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { systemCode } from '../../errors.ts'

export interface QuarantineBounds {
  /** Bytes of all that is kept; what came last goes first in. */
  bytes: number
  /** How long it is kept, ms. */
  age: number
}

const usual: QuarantineBounds = { bytes: 2 ** 30, age: 30 * 86_400_000 }

/** Only what has a name by our hand is ever removed: `sha256-<hex>-<ms>`, `index-<ms>.db` and its like. */
const kept =
  /^(?:sha(?:256|512)-[0-9a-f]+-(?<content>\d{13})|index-(?<index>\d{13})\.db(?:-wal|-shm)?)$/

/**
 * Moves it to `target`. What is not ours to move into another folder may still get another name
 * where it is; and if it cannot be reached at all, the folder around it may.
 */
export async function moveAside(path: string, target: string): Promise<void> {
  const suffix = `.set-aside-${Date.now()}`
  const parent = dirname(path)
  try {
    await rename(path, target)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') throw error
    await rename(path, `${path}${suffix}`).catch(async () => {
      if (await isUsable(parent)) throw error
      await rename(parent, `${parent}${suffix}`)
    })
  }
}

/** Removes what is too old, and the oldest of what is too much. Never rejects: what stays is tried again. */
export async function trimQuarantine(
  folder: string,
  { bytes, age } = usual,
  now = Date.now(),
): Promise<void> {
  let room = bytes
  for (const { path, at, size } of await entriesIn(folder).catch(() => [])) {
    room -= size
    if (room >= 0 && now - at <= age) continue
    // What is not ours to remove stays.
    await rm(path, { recursive: true, force: true }).catch(() => undefined)
  }
}

/** The newest first. */
async function entriesIn(folder: string) {
  const entries = []
  for (const name of await readdir(folder)) {
    const { content, index } = kept.exec(name)?.groups ?? {}
    const at = content ?? index
    if (at === undefined) continue
    const path = join(folder, name)
    entries.push({ path, at: Number(at), size: (await lstat(path)).size })
  }
  return entries.sort((one, other) => other.at - one.at)
}

/** It is a folder, and this process may look into it. */
async function isUsable(path: string): Promise<boolean> {
  try {
    await (await opendir(path)).close()
    return true
  } catch {
    return false
  }
}
