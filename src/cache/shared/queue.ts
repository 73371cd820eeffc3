// What is to be told the object store, on disk: bounded, in order, and still there after a restart.
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { systemCode } from '../../errors.ts'
import type { Digest } from '../../oci/digest.ts'
import { modes } from '../disk/private.ts'
import type { LinkKind } from '../index/links.ts'
import { contentKey, sharedLinkKey, referrersKey, tagKey } from './layout.ts'

interface At {
  upstream: string
  repository: string
}

/** `isPulled`: it is there, and somebody has pulled it since it was written: it is written again. */
export type LinkTask = { do: 'link'; digest: Digest; kind: LinkKind; isPulled?: true } & At

/** One object to write or remove; its content and its facts are looked up when that is done. */
export type Task =
  | { do: 'content'; digest: Digest }
  | LinkTask
  | ({ do: 'tag'; name: string; digest: Digest; checkedAt: number } & At)
  | ({ do: 'untag'; name: string; checkedAt: number } & At)
  | ({ do: 'referrers'; digest: Digest } & At)

export interface Queue {
  /** In the place of an earlier one for the same object. False: it is full. */
  add: (task: Task) => boolean
  /** Those that wait, in order. */
  waiting: () => IterableIterator<Task>
  /** It is done, unless another one has come in its place. */
  done: (task: Task) => void
  size: () => number
}

/** Objects that wait, at most: some 40 MB of memory. */
const mostTasks = 100_000
/** The file is written anew when it has this many lines, and four times as many as there are tasks. */
const fewLines = 10_000

export function keyOf(task: Task): string {
  if (task.do === 'content') return contentKey(task.digest)
  if (task.do === 'link') return sharedLinkKey(task, task.digest, task.kind)
  if (task.do === 'referrers') return referrersKey(task, task.digest)
  return tagKey(task, task.name)
}

/** `onProblem`: the file cannot be written, so that what is new is in memory only. */
export function openQueue(
  file: string,
  onProblem: (error: unknown) => void,
  most = mostTasks,
): Queue {
  const tasks = readTasks(file)
  let lines = Number.POSITIVE_INFINITY
  const write = (work: () => void) => {
    try {
      work()
    } catch (error) {
      // A part of a line may be there, and the next one must not be the rest of it.
      lines = Number.POSITIVE_INFINITY
      onProblem(error)
    }
  }

  function append(line: [key: string, task?: Task]): void {
    write(() => {
      if (lines > Math.max(fewLines, 4 * tasks.size)) rewrite()
      else appendFileSync(file, `${JSON.stringify(line)}\n`, { mode: modes.file })
      lines += 1
    })
  }

  function rewrite(): void {
    const text = [...tasks].map((line) => `${JSON.stringify(line)}\n`).join('')
    writeFileSync(`${file}.new`, text, { mode: modes.file })
    renameSync(`${file}.new`, file)
    lines = tasks.size
  }

  write(rewrite)
  return {
    add(task) {
      const key = keyOf(task)
      if (tasks.size >= most && !tasks.has(key)) return false
      tasks.delete(key)
      tasks.set(key, task)
      append([key, task])
      return true
    },
    waiting: () => tasks.values(),
    done(task) {
      const key = keyOf(task)
      if (tasks.get(key) !== task) return
      tasks.delete(key)
      append([key])
    },
    size: () => tasks.size,
  }
}

function readTasks(file: string): Map<string, Task> {
  const tasks = new Map<string, Task>()
  for (const line of readText(file).split('\n')) {
    const parsed = parse(line)
    if (parsed === undefined) continue
    const [key, task] = parsed
    tasks.delete(key)
    if (task !== undefined) tasks.set(key, task)
  }
  return tasks
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return ''
    throw error
  }
}

/** Nothing of a line that was cut off by the end of a process. */
function parse(line: string): [key: string, task?: Task] | undefined {
  try {
    const [key, task] = JSON.parse(line) as [string, Task?]
    if (task === undefined) return [key]
    return keyOf(task) === key ? [key, task] : undefined
  } catch {
    return undefined
  }
}
