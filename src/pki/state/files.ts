// Writes the files of a state folder: each is replaced as a whole, and all of a set or none.
import { randomBytes } from 'node:crypto'
import {
  accessSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { UsageError } from '../../errors.ts'

export interface NewFile {
  path: string
  content: string | Buffer
  /** 0o644 when absent. */
  mode?: number
}

export const secret = 0o600

/** Files that lie beside their places, durable, and wait to be moved there. */
export interface StagedFiles {
  /** Moves them there in the order given. Where one cannot be, all places are as they were. */
  commit: () => void
  /** Removes what has not been moved. */
  discard: () => void
}

/** Writes all `files`, or none of them. Folders are made where they are missing. */
export function writeFiles(files: readonly NewFile[]): void {
  const staged = stageFiles(files)
  try {
    staged.commit()
  } finally {
    staged.discard()
  }
}

/** Writes every file beside its place. What fails leaves nothing behind but folders. */
export function stageFiles(files: readonly NewFile[]): StagedFiles {
  const staged: { temporary: string; path: string }[] = []
  const discard = () => {
    for (const { temporary } of staged) rmSync(temporary, { force: true })
  }
  try {
    for (const file of files) {
      makeFolder(dirname(file.path))
      const temporary = nextTo(file.path)
      staged.push({ temporary, path: file.path })
      writeDurably(temporary, file)
    }
  } catch (error) {
    discard()
    throw error
  }
  return { commit: () => moveAll(staged), discard }
}

function moveAll(staged: readonly { temporary: string; path: string }[]): void {
  const copies: string[] = []
  const undo: (() => void)[] = []
  try {
    for (const { temporary, path } of staged) {
      const before = existsSync(path) ? nextTo(path) : undefined
      if (before !== undefined) {
        copies.push(before)
        copyFileSync(path, before, constants.COPYFILE_EXCL)
      }
      renameSync(temporary, path)
      undo.push(before === undefined ? () => rmSync(path) : () => renameSync(before, path))
    }
    for (const folder of new Set(staged.map(({ path }) => dirname(path)))) syncFolder(folder)
  } catch (error) {
    for (const step of undo.toReversed()) step()
    throw error
  } finally {
    for (const copy of copies) rmSync(copy, { force: true })
  }
}

function nextTo(path: string): string {
  return `${path}.${randomBytes(6).toString('hex')}.tmp`
}

/** Makes a folder and those above it. Node's own recursion never ends in /proc. */
export function makeFolder(path: string): void {
  if (existsSync(path)) return
  makeFolder(dirname(path))
  try {
    mkdirSync(path)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
}

/** Throws where a folder cannot be written to, or is none. */
export function checkWritable(dir: string): void {
  // The slash tells a file from a folder.
  accessSync(`${dir}/`, constants.W_OK)
}

/** The text of a file, undefined where there is none. */
export function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Runs `work`; where the folder cannot be written to, that is told as a problem of `--dir`. */
export async function inFolder<T>(dir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    const reason = unwritable[codeOf(error)]
    if (reason === undefined) throw error
    throw new UsageError([{ path: '--dir', message: `cannot write to ${dir}: ${reason}` }])
  }
}

const unwritable: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'it is on a read-only file system',
  ENOTDIR: 'it is no folder',
  ENOENT: 'there is no such folder, and it cannot be made',
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function writeDurably(path: string, { content, mode = 0o644 }: NewFile): void {
  const descriptor = openSync(path, 'wx', mode)
  try {
    const bytes = Buffer.from(content)
    let offset = 0
    while (offset < bytes.length) offset += writeSync(descriptor, bytes, offset)
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? ''
}
