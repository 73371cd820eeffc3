// Keeps what no file of content can tell, links, tags and pins, in a text file beside the content:
// the index is made anew from it.
//
// One entry a line, as JSON behind its CRC-32, in the order in which they came true. Entries may be
// there twice; a line that is damaged or broken off is passed by.
import {
  appendFileSync,
  closeSync,
  existsSync,
  fdatasyncSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { appendFile, open, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { dirname } from 'node:path'
import { StringDecoder } from 'node:string_decoder'
import { setImmediate } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { systemCode } from '../../errors.ts'
import { newTemporary, syncFolder, type Folder } from '../disk/folder.ts'

/** A change and its values, in the order of the columns of its table; the last of `tag` is a time. */
export type Entry = readonly [kind: EntryKind, ...values: (string | number)[]]
export type EntryKind = keyof typeof valuesOf

const valuesOf = { link: 4, unlink: 3, tag: 5, untag: 3, pin: 4, unpin: 4 }

export interface Journal {
  /** It has come true; written by the next `flush`. */
  add: (entry: Entry) => void
  /** Makes it durable; writes all of it anew where it is not there, or has become long. */
  flush: () => Promise<void>
  /** The same at once, for the end. */
  flushNow: () => void
}

/** From so many bytes on it is written anew once half of it is of no use, about. */
const longBytes = 4 * 2 ** 20
const mostPending = 100_000

/**
 * @param snapshot all that is true, in pieces; may have more than that by the time a piece is taken.
 *   Absent where nobody knows all of it: then the journal only grows
 * @param isKeeper false where another process writes it anew: then what there is to add waits for it
 */
export function createJournal(
  folder: Folder,
  snapshot?: () => Iterable<Entry[]>,
  isKeeper = true,
): Journal {
  const path = folder.journal
  let pending: Entry[] = []
  let longest = longBytes
  let running: Promise<void> | undefined
  /** Of what is written next: somebody may have been killed within a line. */
  let start = '\n'

  async function append(): Promise<void> {
    const count = pending.length
    if (count === 0) return
    const handle = await open(path, 'a', 0o600)
    const text = start + textOf(pending.slice(0, count))
    // A full disk takes a part of it.
    start = '\n'
    try {
      await handle.appendFile(text)
      await handle.datasync()
      // The file was written anew meanwhile, and may lack this: it is added once more.
      if ((await handle.stat()).ino !== (await stat(path)).ino) return
    } finally {
      await handle.close()
    }
    start = ''
    pending = pending.slice(count)
  }

  async function rewrite(all: Iterable<Entry[]>): Promise<void> {
    const temporary = newTemporary(folder)
    const count = pending.length
    const old = await openIfThere(path)
    const handle = await open(temporary, 'wx', 0o600)
    try {
      let seen = (await old?.stat())?.size ?? 0
      for (const entries of all) {
        await handle.appendFile(textOf(entries))
        await setImmediate()
      }
      // Another process may have added to the old one meanwhile.
      seen += await copyFrom(old, seen, async (bytes) => handle.appendFile(bytes))
      await handle.datasync()
      longest = Math.max(longBytes, 2 * (await handle.stat()).size)
      await rename(temporary, path)
      await copyFrom(old, seen, async (bytes) => appendFile(path, bytes))
      await syncFolder(dirname(path))
      pending = pending.slice(count)
    } finally {
      await handle.close()
      await old?.close()
      await rm(temporary, { force: true })
    }
  }

  async function flush(): Promise<void> {
    const size = await sizeOf(path)
    if (size === undefined && !isKeeper) return
    const isDue = size === undefined || (isKeeper && size > longest)
    await (isDue && snapshot !== undefined ? rewrite(snapshot()) : append())
  }

  return {
    add(entry) {
      pending.push(entry)
      if (pending.length < mostPending) return
      // Nothing can be written for long: once it can, the index itself is asked.
      pending = []
      longest = 0
    },
    flush: async () => (running ??= flush().finally(() => (running = undefined))),
    flushNow() {
      if (!existsSync(folder.tmp)) return
      if (snapshot !== undefined && !existsSync(path)) saveNow(folder, snapshot())
      else if (pending.length > 0) appendFileSync(path, start + textOf(pending), { flush: true })
      pending = []
    },
  }
}

/** Writes it as a whole, at once. */
function saveNow(folder: Folder, snapshot: Iterable<Entry[]>): void {
  const temporary = newTemporary(folder)
  const fd = openSync(temporary, 'wx', 0o600)
  try {
    for (const entries of snapshot) appendFileSync(fd, textOf(entries))
    fdatasyncSync(fd)
    renameSync(temporary, folder.journal)
  } finally {
    closeSync(fd)
    rmSync(temporary, { force: true })
  }
}

/**
 * All entries in their order, as far as they can be read; none where there is no journal.
 * @param from the byte to begin at; a line that begins before is passed by
 */
export function* readJournal(path: string, from = 0): Iterable<Entry> {
  let rest = ''
  for (const text of textsIn(path, from)) {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    // What is no line of ours must not fill the memory.
    if (rest.length > longestLine) rest = ''
    for (const line of lines) {
      const entry = entryIn(line)
      if (entry !== undefined) yield entry
    }
  }
  const last = entryIn(rest)
  if (last !== undefined) yield last
}

function* textsIn(path: string, from: number): Iterable<string> {
  let fd: number | undefined
  try {
    fd = openSync(path, 'r')
    const buffer = Buffer.allocUnsafe(2 ** 20)
    const decoder = new StringDecoder('utf8')
    for (let position = from; ;) {
      const bytes = readSync(fd, buffer, 0, buffer.length, position)
      if (bytes === 0) break
      position += bytes
      yield decoder.write(buffer.subarray(0, bytes))
    }
  } catch {
    // It is not there, is somebody else's, or lies on a bad sector: what is behind that is not known.
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** Bytes. */
export const longestLine = 64 * 1024

function textOf(entries: readonly Entry[]): string {
  return entries
    .map((entry) => {
      const json = JSON.stringify(entry)
      return `${sumOf(json)} ${json}\n`
    })
    .join('')
}

function sumOf(json: string): string {
  return crc32(json).toString(16).padStart(8, '0')
}

function entryIn(line: string): Entry | undefined {
  const json = line.slice(9)
  if (json === '' || line[8] !== ' ' || line.slice(0, 8) !== sumOf(json)) return undefined
  const entry: unknown = JSON.parse(json)
  if (!Array.isArray(entry)) return undefined
  const [kind] = entry as [EntryKind]
  // A newer version may know more.
  return Object.hasOwn(valuesOf, kind) && entry.length === valuesOf[kind] + 1
    ? (entry as unknown as Entry)
    : undefined
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  try {
    return await open(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Passes on what stands behind `position`; resolves to its number of bytes. */
async function copyFrom(
  file: FileHandle | undefined,
  position: number,
  write: (bytes: Buffer) => Promise<void>,
): Promise<number> {
  const length = ((await file?.stat())?.size ?? 0) - position
  if (file === undefined || length <= 0) return 0
  const bytes = Buffer.alloc(length)
  const { bytesRead } = await file.read(bytes, 0, length, position)
  await write(bytes.subarray(0, bytesRead))
  return bytesRead
}
