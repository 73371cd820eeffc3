// Looks for damage inside an index, on a thread of its own: a large one takes seconds.
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

const code = `
const { parentPort, workerData } = require('node:worker_threads')
const { DatabaseSync } = require('node:sqlite')
const found = (work) => {
  try {
    return work()
  } catch (error) {
    return { errcode: error.errcode ?? 0, message: error.message }
  }
}
parentPort.postMessage(found(() => {
  const sqlite = new DatabaseSync(workerData, { readOnly: true, timeout: 5000 })
  const [answer] = Object.values(sqlite.prepare('PRAGMA quick_check(1)').get())
  sqlite.close()
  return answer === 'ok' ? { errcode: 0, message: 'ok' } : { errcode: 11, message: answer }
}))
`

/** What SQLite says of the database at `path`; an `errcode` of 0 where it may be sound. */
export async function quickCheck(path: string): Promise<{ errcode: number; message: string }> {
  const worker = new Worker(code, { eval: true, workerData: path })
  worker.unref()
  const [answer] = (await once(worker, 'message')) as [{ errcode: number; message: string }]
  return answer
}
