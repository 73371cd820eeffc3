// Copies a cache folder that may be in use: a folder of its own, consistent in itself, that a gateway can
// use at once.
//
// The order makes it so: content, which never changes, is there before the index that knows of it is
// copied; what came in between is fetched after, and what was taken out in between is forgotten.
import { constants, existsSync, readdirSync } from 'node:fs'
import { copyFile, link, mkdir, open, stat, utimes, writeFile } from 'node:fs/promises'
import { dirname, join, resolve, sep } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { systemCode, UsageError } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { folderFormat, foldersIn, syncFolder, type Folder } from '../disk/folder.ts'
import { createPrivate, modes } from '../disk/private.ts'
import { openIndex, type Index } from '../index/content-index.ts'
import { openStore, pathIn } from '../store.ts'

export interface BackupSummary {
  blobs: number
  bytes: number
  /** Blobs that are hard links: on the same file system they take no room. */
  linked: number
}

export interface BackupOptions {
  /** The cache folder. */
  dir: string
  /** A folder that is empty, or not there. */
  target: string
  /** Files that lie in the cache folder beside what a cache is made of; copied where they are there. */
  beside?: readonly string[]
  /** Told the bytes there are, before the first of them is copied. */
  onBegin?: (bytes: number) => (copied: number) => void
}

/** Pages of the index at once: all of them, so that nobody writes in between. */
const allPages = 2 ** 30
const rowsAtOnce = 1000

/** Throws UsageError where `dir` is no cache, or `target` is not empty; else what the file system says. */
export async function backUpCache(options: BackupOptions): Promise<BackupSummary> {
  const { dir, target, beside = [], onBegin } = options
  if (!existsSync(join(dir, 'format'))) {
    throw new UsageError([{ path: 'cache.dir', message: `${dir} holds no cache` }])
  }
  assertEmpty(target, dir)
  const store = openStore(dir)
  try {
    const folder = foldersIn(target)
    for (const path of [target, folder.blobs, folder.tmp, folder.quarantine]) {
      await mkdir(path, { recursive: true, mode: modes.folder })
    }
    const sqlite = new DatabaseSync(store.folder.index, { timeout: 5000 })
    try {
      const advance = onBegin?.(bytesIn(sqlite))
      const copier = createCopier(store.folder, folder, advance)
      for await (const digest of store.digests()) await copier.copy(digest)
      createPrivate(folder.index)
      await backup(sqlite, folder.index, { rate: allPages })
      await complete(openIndex(target), folder, copier)
      for (const name of beside) await copyIfThere(join(dir, name), join(target, name))
      await copier.settle()
      // Last: without it the folder is no cache.
      await writeFile(join(target, 'format'), `${folderFormat}\n`, { flag: 'wx', mode: modes.file })
      await syncFolder(target)
      return copier.summary
    } finally {
      sqlite.close()
    }
  } finally {
    store.close()
  }
}

function assertEmpty(target: string, dir: string): void {
  const fail = (message: string) => new UsageError([{ path: target, message }])
  if (`${resolve(target)}${sep}`.startsWith(`${resolve(dir)}${sep}`)) {
    throw fail('lies in the cache folder itself: name another one')
  }
  let entries: string[]
  try {
    entries = readdirSync(target)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw fail(`cannot be used (${systemCode(error)}): name a folder that is empty, or not there`)
  }
  if (entries.length > 0) throw fail('is not empty: name a folder that is, or is not there')
}

function bytesIn(sqlite: DatabaseSync): number {
  return Number(sqlite.prepare('SELECT sum(size) AS bytes FROM content').get()?.['bytes'] ?? 0)
}

/** Fetches what the copied index knows and the folder lacks, and has it forget what is gone. */
async function complete(index: Index, folder: Folder, copier: Copier): Promise<void> {
  try {
    let after: Digest | undefined
    do {
      const rows = index.blobsAfter(after, rowsAtOnce)
      for (const { digest } of rows) {
        if (existsSync(pathIn(folder, digest)) || (await copier.copy(digest))) continue
        index.dropContent(digest)
      }
      after = rows.length < rowsAtOnce ? undefined : rows.at(-1)?.digest
    } while (after !== undefined)
  } finally {
    // Writes a journal of all that it knows.
    index.close()
  }
}

interface Copier {
  /** Whether it was there. */
  copy: (digest: Digest) => Promise<boolean>
  /** Makes the names of all files durable. */
  settle: () => Promise<void>
  summary: BackupSummary
}

function createCopier(
  source: Folder,
  target: Folder,
  advance: ((copied: number) => void) | undefined,
): Copier {
  const summary = { blobs: 0, bytes: 0, linked: 0 }
  const folders = new Set<string>()

  async function copy(digest: Digest): Promise<boolean> {
    const [from, to] = [pathIn(source, digest), pathIn(target, digest)]
    try {
      const { size } = await stat(from)
      const parent = dirname(to)
      if (!folders.has(parent)) await mkdir(parent, { recursive: true, mode: modes.folder })
      folders.add(parent)
      if (await isLinked(from, to)) summary.linked += 1
      else await copyWhole(from, to)
      summary.blobs += 1
      summary.bytes += size
      advance?.(size)
      return true
    } catch (error) {
      // It was evicted, or is no file that anybody can read.
      if (['ENOENT', 'EACCES', 'EISDIR', 'EIO'].includes(systemCode(error))) return false
      throw error
    }
  }

  return {
    copy,
    async settle() {
      for (const path of folders) await syncFolder(path)
    },
    summary,
  }
}

/** Content never changes, so that a second name for it is as good as a copy of it. */
async function isLinked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    // Another file system, another owner, too many names, or one that knows no links.
    if (['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'ENOSYS'].includes(systemCode(error))) return false
    throw error
  }
}

/** With its time, by which the index knows that it is the same. */
async function copyWhole(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE)
  const { atime, mtime } = await stat(from)
  await utimes(to, atime, mtime)
  const handle = await open(to, 'r+')
  try {
    await handle.chmod(modes.file)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function copyIfThere(from: string, to: string): Promise<void> {
  if (existsSync(from)) await copyWhole(from, to)
}
