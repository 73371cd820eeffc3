// One worker as the supervisor sees it: a process that begins, serves and ends.
import { fork, type ChildProcess } from 'node:child_process'
import { extname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { workerVariable, type FromWorker, type ToWorker, type WorkerFacts } from './messages.ts'

export interface WorkerProcess {
  pid: number | undefined
  /** What it said when it was ready; undefined: it ended before. */
  ready: Promise<ReadyWorker | undefined>
  /** How it ended; `error`: why it could not be started. */
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null; error?: Error }>
  /** For how long it has said nothing since it was ready, ms. */
  silentFor: () => number
  tell: (message: ToWorker) => void
  kill: () => void
}

/** Where this process has no descriptor left there is nothing to read from. */
type Started = Omit<ChildProcess, 'stdout'> & { stdout?: Readable | null }

export type ReadyWorker = Extract<FromWorker, { kind: 'ready' }>

const main = join(import.meta.dirname, '..', '..', `main${extname(import.meta.filename)}`)

/**
 * Throws what the system says where it lacks the memory, and the like; most reasons are told by `ended`.
 * @param onLines gets whole lines of its log
 */
export function startWorker(
  file: string,
  facts: WorkerFacts,
  onLines: (lines: string) => void,
): WorkerProcess {
  const child: Started = fork(main, ['serve', '--config', file], {
    env: environment(facts),
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const ended = endOf(child)
  let heardAt: number | undefined
  const ready = new Promise<ReadyWorker | undefined>((resolve) => {
    child.on('message', (message: FromWorker) => {
      heardAt = performance.now()
      if (message.kind === 'ready') resolve(message)
    })
    void ended.then(() => resolve(undefined))
  })
  if (child.stdout) passOnLines(child.stdout, onLines)
  return {
    pid: child.pid,
    ready,
    ended,
    silentFor: () => (heardAt === undefined ? 0 : performance.now() - heardAt),
    // It may be gone already: then its end says all.
    tell: (message) => void (child.connected && child.send(message, () => undefined)),
    kill: () => void child.kill('SIGKILL'),
  }
}

/** What this process tells its service manager is not for a worker to say. */
function environment(facts: WorkerFacts): NodeJS.ProcessEnv {
  const { NOTIFY_SOCKET: _socket, WATCHDOG_USEC: _beat, WATCHDOG_PID: _pid, ...env } = process.env
  return { ...env, [workerVariable]: JSON.stringify(facts) }
}

async function endOf(child: Started): Promise<Awaited<WorkerProcess['ended']>> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: 1, signal: null, error }))
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
}

function passOnLines(from: Readable, onLines: (lines: string) => void): void {
  let rest = ''
  from.setEncoding('utf8')
  from.on('data', (chunk: string) => {
    const end = chunk.lastIndexOf('\n') + 1
    if (end > 0) onLines(rest + chunk.slice(0, end))
    rest = end > 0 ? chunk.slice(end) : rest + chunk
  })
  // Whoever is killed may have been within a line.
  from.on('end', () => {
    if (rest !== '') onLines(`${rest}\n`)
  })
}
