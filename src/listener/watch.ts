// Notices that files have changed: written in place, renamed over, or reached by another symbolic
// link, as when Kubernetes swaps `..data`.
import { statSync, watch, type FSWatcher } from 'node:fs'
import { basename, dirname } from 'node:path'

export interface FileWatch {
  close: () => void
}

/** Writes come in bursts: this long without another one, but no longer than that in all. */
const quietMs = 50
const longestMs = 300
/** Finds what events do not tell: on network file systems, or behind a symbolic link. */
const pollMs = 2000

/**
 * Calls `onChange` with those of `files` that have changed or gone since this call, or since
 * `since` (ms since the epoch). Does not keep the process alive.
 */
export function watchFiles(
  files: readonly string[],
  onChange: (changed: string[]) => void,
  since = Infinity,
): FileWatch {
  const states = new Map(files.map((file) => [file, stateOf(file)]))
  /** Told by an event: two writes within one tick of the clock leave the same state. */
  const touched = new Set(files.filter((file) => isChangedAfter(file, since)))
  let firstEvent: number | undefined
  let timer: NodeJS.Timeout | undefined

  function look(): void {
    firstEvent = undefined
    const changed = files.filter((file) => touched.has(file) || stateOf(file) !== states.get(file))
    touched.clear()
    for (const file of changed) states.set(file, stateOf(file))
    if (changed.length > 0) onChange(changed)
  }

  function lookSoon(): void {
    firstEvent ??= Date.now()
    clearTimeout(timer)
    timer = setTimeout(look, Math.min(quietMs, Math.max(0, firstEvent + longestMs - Date.now())))
    timer.unref()
  }

  const folders = watchFolders(new Set(files.map((file) => dirname(file))), (folder, name) => {
    for (const file of files) {
      if (dirname(file) === folder && basename(file) === name) touched.add(file)
    }
    lookSoon()
  })
  const poll = setInterval(() => {
    folders.renew()
    look()
  }, pollMs)
  poll.unref()
  if (touched.size > 0) lookSoon()
  return {
    close() {
      clearTimeout(timer)
      clearInterval(poll)
      folders.close()
    },
  }
}

/** Events of what is in `folders`; `renew` is for those that were not there, or were replaced. */
function watchFolders(
  folders: ReadonlySet<string>,
  onEvent: (folder: string, name: string | null) => void,
) {
  const open = new Map<string, { watcher: FSWatcher; identity: string }>()
  function close(folder: string): void {
    open.get(folder)?.watcher.close()
    open.delete(folder)
  }
  function renew(): void {
    for (const folder of folders) {
      const identity = identityOf(folder)
      if (open.get(folder)?.identity === identity) continue
      close(folder)
      try {
        const watcher = watch(folder, { persistent: false }, (_, name) => onEvent(folder, name))
        watcher.on('error', () => close(folder))
        open.set(folder, { watcher, identity })
      } catch {
        // No such folder yet, or no more watches to be had: the poll looks after its files.
      }
    }
  }
  renew()
  return { renew, close: () => folders.forEach(close) }
}

/** Differs once a file, or what its name leads to, has changed. */
function stateOf(file: string): string {
  const stats = statsOf(file)
  if (stats === undefined) return 'gone'
  const { dev, ino, size, mtimeNs, ctimeNs } = stats
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
}

function identityOf(folder: string): string {
  const stats = statsOf(folder)
  return stats === undefined ? 'gone' : `${stats.dev} ${stats.ino}`
}

function isChangedAfter(file: string, since: number): boolean {
  const stats = statsOf(file)
  return stats !== undefined && Number(stats.ctimeMs) >= since
}

function statsOf(path: string) {
  try {
    return statSync(path, { bigint: true })
  } catch {
    return undefined
  }
}
