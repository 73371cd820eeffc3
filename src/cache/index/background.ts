// What takes seconds with a large index, on a thread of its own.
import { once } from 'node:events'
import { DatabaseSync } from 'node:sqlite'
import { Worker } from 'node:worker_threads'
import type { Folder } from '../disk/folder.ts'
import { buildIndex } from './database.ts'

/** What SQLite says of a database; an `errcode` of 0 where it may be sound. */
interface Verdict {
  errcode: number
  message: string
}

/** By name, for the thread, and nobody else. @public */
export const work = { buildIndex, check }

/** Looks for damage inside the database at `path`. */
export async function quickCheck(path: string): Promise<Verdict> {
  return onThread<Verdict>('check', [path])
}

/** See `buildIndex`. Ends at once where `signal` says so. */
export async function buildAside(
  folder: Folder,
  target: string,
  signal: AbortSignal,
): Promise<number> {
  return onThread<number>('buildIndex', [folder, target], signal)
}

const code = `
const { parentPort, workerData: { module, name, args } } = require('node:worker_threads')
import(module).then(({ work }) => parentPort.postMessage(work[name](...args)))
`

/** Rejects with what it throws. */
async function onThread<Result>(
  name: keyof typeof work,
  args: unknown[],
  signal?: AbortSignal,
): Promise<Result> {
  signal?.throwIfAborted()
  const worker = new Worker(code, {
    eval: true,
    workerData: { module: import.meta.url, name, args },
  })
  worker.unref()
  try {
    const [result] = (await once(worker, 'message', { signal })) as [Result]
    return result
  } finally {
    await worker.terminate()
  }
}

function check(path: string): Verdict {
  try {
    const sqlite = new DatabaseSync(path, { readOnly: true, timeout: 5000 })
    const [answer] = Object.values(sqlite.prepare('PRAGMA quick_check(1)').get() ?? {})
    sqlite.close()
    return answer === 'ok'
      ? { errcode: 0, message: 'ok' }
      : { errcode: 11, message: String(answer) }
  } catch (error) {
    const { errcode = 0, message } = error as Partial<Verdict> & Error
    return { errcode, message }
  }
}
