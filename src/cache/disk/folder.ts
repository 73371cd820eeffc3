// The cache folder: what lies where in it, its format, and what a killed process left behind.
//
// Only a folder with our `format` file is ever written to or cleaned, and in it only what has one of
// our names: a config that names somebody's own folder must do no harm.
import { randomBytes, randomUUID } from 'node:crypto'
import {
  closeSync,
  fsync as fsyncCallback,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { systemCode, UsageError } from '../../errors.ts'
import { enter, type Presence } from './presence.ts'
import { modes } from './private.ts'

const fsync = promisify(fsyncCallback)

export interface Folder {
  blobs: string
  tmp: string
  quarantine: string
  index: string
  journal: string
  /** How far the verification of everything is. */
  verified: string
}

/** What this program writes; a folder with a newer one is refused. */
export const folderFormat = 1
/** Beside these a folder without `format` may hold only what a file system puts there. */
const ours =
  /^(blobs|tmp|quarantine|lock|journal|verified|shared-queue(\.new)?|control\.sock|index\.db.*|lost\+found)$/
const temporary = /^\d+-[0-9a-f]{8}-[0-9a-f]{12}$/
/** Tells the files of this process from those of an earlier one with the same id, as in containers. */
const processToken = randomBytes(4).toString('hex')

export function foldersIn(dir: string): Folder {
  return {
    blobs: join(dir, 'blobs'),
    tmp: join(dir, 'tmp'),
    quarantine: join(dir, 'quarantine'),
    index: join(dir, 'index.db'),
    journal: join(dir, 'journal'),
    verified: join(dir, 'verified'),
  }
}

/**
 * Makes the folder ready, and says to other processes that it is in use. One that cannot be written
 * is accepted where it holds a cache already: then there is no presence.
 * @throws UsageError `cache.dir`, also for a folder that is neither empty nor a cache
 */
export function prepareFolder(dir: string): { folder: Folder; presence: Presence | undefined } {
  const folder = foldersIn(dir)
  const found = formatOf(dir)
  if (found !== undefined && found > folderFormat) {
    throw problem(`${dir} was written by a newer version (format ${found}): update, or use another`)
  }
  if (found === undefined) assertEmpty(dir, folder)
  refuseLinks(folder)
  try {
    mkdirSync(dir, { recursive: true, mode: modes.folder })
    if (found === undefined) {
      writeFileSync(join(dir, 'format'), `${folderFormat}\n`, { flag: 'wx', mode: modes.file })
    }
    for (const path of [folder.blobs, folder.tmp, folder.quarantine]) {
      mkdirSync(path, { recursive: true, mode: modes.folder })
    }
    const probe = newTemporary(folder)
    writeFileSync(probe, '', { mode: modes.file })
    unlinkSync(probe)
    return { folder, presence: enter(join(dir, 'lock'), () => removeLeftovers(folder.tmp)) }
  } catch (error) {
    if (found === undefined) {
      throw problem(
        `${dir} cannot be written (${systemCode(error)}): create it for the user of this`,
      )
    }
    return { folder, presence: undefined }
  }
}

/** What the names of this process in `tmp/` begin with. */
export const ownPrefix = `${process.pid}-${processToken}-`

/** A name in `tmp/` that nobody else uses. */
export function newTemporary(folder: Folder): string {
  // Node has random UUIDs at hand; asked for bytes it asks OpenSSL each time.
  return join(folder.tmp, `${ownPrefix}${randomUUID().slice(-12)}`)
}

/** Removes what a process that is no more has left in `tmp/`. */
export function removeFilesOf(prefix: string, { tmp }: Folder): void {
  for (const entry of readdirSync(tmp, { withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.startsWith(prefix)) continue
    if (temporary.test(entry.name)) rmSync(join(tmp, entry.name), { force: true })
  }
}

/** Why nothing can be stored, such as `ENOSPC`; undefined where it can. */
export async function writeProblem(folder: Folder): Promise<string | undefined> {
  const probe = newTemporary(folder)
  try {
    await writeFile(probe, Buffer.alloc(4096), { mode: modes.file })
    return undefined
  } catch (error) {
    return systemCode(error)
  } finally {
    await rm(probe, { force: true }).catch(() => undefined)
  }
}

/** A rename, or a new file, is durable only once its folder is. */
export async function syncFolder(path: string): Promise<void> {
  // Opening and closing cost less than a turn in the thread pool each, and wait for no disk.
  const fd = openSync(path, 'r')
  try {
    await fsync(fd)
  } finally {
    closeSync(fd)
  }
}

function formatOf(dir: string): number | undefined {
  try {
    const text = readFileSync(join(dir, 'format'), 'utf8')
    const found = /^\d{1,9}\n?$/.test(text) ? Number(text) : Number.NaN
    if (Number.isNaN(found)) throw problem(`${dir} holds a file "format" of another program`)
    return found
  } catch (error) {
    if (error instanceof UsageError) throw error
    const code = systemCode(error)
    if (code === 'ENOENT') return undefined
    if (code === 'ENOTDIR') throw problem(`${dir} is not a folder`)
    throw problem(`${dir} cannot be read (${code}): give the user of this access to it`)
  }
}

/** Also what the first start of all left when it was killed before it had said whose folder it is. */
function assertEmpty(dir: string, { blobs, tmp }: Folder): void {
  const foreign = [
    ...entriesOf(dir).filter((name) => !ours.test(name)),
    ...entriesOf(tmp).filter((name) => !temporary.test(name)),
    ...entriesOf(blobs).filter((name) => !/^sha(256|512)$/.test(name)),
  ]
  if (foreign.length === 0) return
  throw problem(
    `${dir} is no cache, and not empty (${foreign.slice(0, 3).join(', ')}): name a folder of its own`,
  )
}

/** Whoever can put a link here must not be able to have us write or clean elsewhere. */
function refuseLinks({ blobs, tmp, quarantine }: Folder): void {
  for (const path of [blobs, tmp, quarantine]) {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat?.isDirectory() === false) {
      throw problem(`${path} is a link or a file: make it a folder, or mount what it points to`)
    }
  }
}

function entriesOf(path: string): string[] {
  try {
    return readdirSync(path)
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw problem(`${path} cannot be read (${code}): give the user of this access to it`)
  }
}

/** Nobody else is there: what has the name of a temporary file is of a process that was killed. */
function removeLeftovers(tmp: string): void {
  for (const entry of readdirSync(tmp, { withFileTypes: true })) {
    const isOurs = (entry.isFile() || entry.isSocket()) && temporary.test(entry.name)
    if (isOurs) rmSync(join(tmp, entry.name), { force: true })
  }
}

function problem(message: string): UsageError {
  return new UsageError([{ path: 'cache.dir', message }])
}
