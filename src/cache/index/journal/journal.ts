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
import { ifThere } from '../../../errors.ts'
import { newTemporary, syncFolder, type Folder } from '../../disk/folder.ts'

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
/** From so many on those that others make needless are not kept. */
const manyPending = 100_000

/**
 * @param snapshot all that is true, in pieces; may have more than that by the time a piece is taken.
 *   Absent where nobody knows all of it: then the journal only grows
 * @param isKeeper false where another process makes it, and writes it anew: then what there is to add
 *   waits for it, however much that is
 */
export function createJournal(
  folder: Folder,
  snapshot?: () => Iterable<Entry[]>,
  isKeeper = true,
): Journal {
  const path = folder.journal
  const asksIndex = isKeeper && snapshot !== undefined
  const waiting = createWaiting(asksIndex)
  let longest = longBytes
  let running: Promise<void> | undefined
  /** Of what is written next: somebody may have been killed within a line. */
  let start = '\n'

  async function append(entries: readonly Entry[]): Promise<boolean> {
    if (entries.length === 0) return true
    const handle = await open(path, 'a', 0o600)
    const text = start + textOf(entries)
    // A full disk takes a part of it.
    start = '\n'
    try {
      await handle.appendFile(text)
      await handle.datasync()
      // The file was written anew meanwhile, and may lack this: it is added once more.
      if ((await handle.stat()).ino !== (await stat(path)).ino) return false
    } finally {
      await handle.close()
    }
    start = ''
    return true
  }

  async function rewrite(all: Iterable<Entry[]>): Promise<boolean> {
    const temporary = newTemporary(folder)
    const old = await ifThere(open(path))
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
      return true
    } finally {
      await handle.close()
      await old?.close()
      await rm(temporary, { force: true })
    }
  }

  async function flush(): Promise<void> {
    const size = (await ifThere(stat(path)))?.size
    if (size === undefined && !isKeeper) return
    const isDue = size === undefined || (isKeeper && (waiting.isLacking() || size > longest))
    if (isDue && snapshot !== undefined) await waiting.write(async () => rewrite(snapshot()), true)
    else await waiting.write(append, false)
  }

  return {
    add: waiting.add,
    flush: async () => (running ??= flush().finally(() => (running = undefined))),
    flushNow() {
      if (!existsSync(folder.tmp)) return
      const isThere = existsSync(path)
      const entries = waiting.end()
      if (asksIndex && (waiting.isLacking() || !isThere)) saveNow(folder, snapshot())
      // Where it is not there its keeper makes it of the index of both, which has these.
      else if (entries.length > 0 && (isThere || snapshot === undefined)) {
        appendFileSync(path, start + textOf(entries), { flush: true })
      }
    },
  }
}

/**
 * What waits to be written.
 * @param asksIndex whether what is too much may go, because the index is asked for all of it
 */
function createWaiting(asksIndex: boolean) {
  let all: Entry[] = []
  /** How many of these, from the first on, are being written. */
  let underWay = 0
  let most = manyPending
  let isLacking = false

  return {
    add: (entry: Entry): void => {
      all.push(entry)
      if (all.length < most) return
      // Nothing can be written for long.
      const [first, others] = [all.slice(0, underWay), all.slice(underWay)]
      isLacking = asksIndex
      all = [...first, ...(asksIndex ? [] : lastOfEach(others))]
      most = Math.max(manyPending, 2 * all.length)
    },
    /** Not all that has come true waits: once something can be written, the index has to be asked. */
    isLacking: () => isLacking,
    /** What `by` resolves to having written does not wait any more. */
    async write(by: (entries: readonly Entry[]) => Promise<boolean>, isAnew: boolean) {
      const wasLacking = isLacking
      isLacking &&= !isAnew
      underWay = all.length
      try {
        if (await by(all.slice(0, underWay))) all = all.slice(underWay)
      } catch (error) {
        isLacking ||= wasLacking
        throw error
      } finally {
        underWay = 0
      }
    },
    end: () => all.splice(0),
  }
}

/** What came true last of each thing, in its order. */
function lastOfEach(entries: readonly Entry[]): Entry[] {
  const seen = new Set<string>()
  return entries
    .toReversed()
    .filter(([kind, ...values]) => {
      const { size } = seen
      // A tag means what it was said to mean last.
      return (
        seen.add([kind, ...(kind === 'tag' ? values.slice(0, 3) : values)].join(' ')).size > size
      )
    })
    .reverse()
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
