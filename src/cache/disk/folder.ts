// The cache folder: what lies where in it, its format, and what a killed process left behind.
import { randomBytes } from 'node:crypto'
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode, UsageError } from '../../errors.ts'

export interface Folder {
  blobs: string
  tmp: string
  quarantine: string
  index: string
}

/** What this program writes; a folder with a newer one is refused. */
const format = 1
const dayMs = 86_400_000
/** Tells the files of this process from those of an earlier one with the same id, as in containers. */
const processToken = randomBytes(4).toString('hex')

export function foldersIn(dir: string): Folder {
  return {
    blobs: join(dir, 'blobs'),
    tmp: join(dir, 'tmp'),
    quarantine: join(dir, 'quarantine'),
    index: join(dir, 'index.db'),
  }
}

/**
 * Makes the folder ready. One that cannot be written is accepted where it holds a cache already.
 * @throws UsageError `cache.dir`
 */
export function prepareFolder(dir: string): Folder {
  const folder = foldersIn(dir)
  const found = formatOf(dir)
  if (found !== undefined && found > format) {
    throw problem(`${dir} was written by a newer version (format ${found}): update, or use another`)
  }
  try {
    for (const path of [folder.blobs, folder.tmp, folder.quarantine]) {
      mkdirSync(path, { recursive: true })
    }
    const probe = newTemporary(folder)
    writeFileSync(probe, '')
    unlinkSync(probe)
    if (found === undefined) writeFileSync(join(dir, 'format'), `${format}\n`)
    removeLeftovers(folder.tmp)
  } catch (error) {
    if (found === undefined) {
      throw problem(
        `${dir} cannot be written (${systemCode(error)}): create it for the user of this`,
      )
    }
  }
  return folder
}

/** A name in `tmp/` that nobody else uses. */
export function newTemporary(folder: Folder): string {
  return join(folder.tmp, `${process.pid}-${processToken}-${randomBytes(6).toString('hex')}`)
}

/** Why nothing can be stored, such as `ENOSPC`; undefined where it can. */
export async function writeProblem(folder: Folder): Promise<string | undefined> {
  const probe = newTemporary(folder)
  try {
    await writeFile(probe, Buffer.alloc(4096))
    return undefined
  } catch (error) {
    return systemCode(error)
  } finally {
    await rm(probe, { force: true }).catch(() => undefined)
  }
}

/** A rename, or a new file, is durable only once its folder is. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function formatOf(dir: string): number | undefined {
  try {
    const found = Number.parseInt(readFileSync(join(dir, 'format'), 'utf8'), 10)
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

/** Spares the files of other living processes: an import may run beside a gateway. */
function removeLeftovers(tmp: string): void {
  for (const name of readdirSync(tmp)) {
    const [pid = '', token] = name.split('-')
    const path = join(tmp, name)
    const isOurs = Number(pid) === process.pid && token === processToken
    if (isOurs || (isAlive(Number(pid)) && !isOld(path))) continue
    rmSync(path, { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemCode(error) === 'EPERM'
  }
}

function isOld(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat !== undefined && Date.now() - stat.mtimeMs > dayMs
}

function problem(message: string): UsageError {
  return new UsageError([{ path: 'cache.dir', message }])
}
