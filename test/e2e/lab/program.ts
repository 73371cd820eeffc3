// A real program of the lab: started, waited for, stopped, and stopped also when the test is killed.
import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { Test } from 'tap'
import { findProgram } from '../../requirements.ts'

export interface Program {
  pid: number
  /** Everything that it has written to its standard output and error so far. */
  output: () => string
  /** Ends it, by SIGKILL where it has not gone after ten seconds: the exit code. */
  stop: (signal?: NodeJS.Signals) => Promise<number | null>
  /** The exit code, null after a signal. */
  ended: Promise<number | null>
}

export interface ProgramOptions {
  command: string
  args?: readonly string[]
  env?: Record<string, string>
  /** Asked again and again until it says yes. */
  ready?: (program: Program) => boolean | Promise<boolean>
  /** What ends it, also when the test process is killed; SIGTERM unless told otherwise. */
  endedBy?: 'SIGTERM' | 'SIGKILL'
}

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

const patience = 30_000

/** Starts a program that stays, and resolves when it is ready. It is stopped with the test. */
export async function startProgram(
  t: Pick<Test, 'teardown'>,
  options: ProgramOptions,
): Promise<Program> {
  const { command, args = [], endedBy = 'SIGTERM' } = options
  const child = spawn(
    'setpriv',
    [`--pdeathsig=${endedBy}`, findProgram(command) ?? command, ...args],
    { stdio: ['ignore', 'pipe', 'pipe'], env: environment(options.env) },
  )
  const program = describe(child, endedBy)
  t.teardown(() => program.stop())
  const { ready } = options
  if (ready !== undefined) await untilReady(command, program, ready)
  return program
}

function describe(child: ChildProcess, endedBy: NodeJS.Signals): Program {
  const chunks: Buffer[] = []
  child.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => chunks.push(chunk))
  const ended = once(child, 'close').then(([code]) => code as number | null)
  return {
    pid: child.pid ?? 0,
    output: () => Buffer.concat(chunks).toString(),
    ended,
    stop: async (signal = endedBy) => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000)
      try {
        return await ended
      } finally {
        clearTimeout(timer)
      }
    },
  }
}

async function untilReady(
  command: string,
  program: Program,
  ready: (program: Program) => boolean | Promise<boolean>,
): Promise<void> {
  let code: number | null | undefined
  void program.ended.then((given) => (code = given))
  await until(`${command} is ready`, async () => {
    if (code !== undefined) throw new Error(`${command} ended (${code}): ${program.output()}`)
    return ready(program)
  })
}

/** Resolves when `condition` holds; rejects with what it was waiting for after half a minute. */
export async function until(what: string, condition: () => boolean | Promise<boolean>) {
  const deadline = Date.now() + patience
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await delay(20)
  }
}

/** Runs a program to its end. Resolves with any exit code. */
export function run(
  command: string,
  args: readonly string[],
  options: { env?: Record<string, string>; timeout?: number } = {},
): Promise<Outcome> {
  const { env, timeout = 60_000 } = options
  const settings = { env: environment(env), timeout, maxBuffer: 2 ** 26 }
  return new Promise((resolve, reject) => {
    execFile(findProgram(command) ?? command, args, settings, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr })
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr })
      else reject(new Error(`${command} was cut off: ${stderr}`, { cause: error }))
    })
  })
}

/** `run` for what must succeed: its standard output. */
export async function succeed(...call: Parameters<typeof run>): Promise<string> {
  const { code, stdout, stderr } = await run(...call)
  if (code === 0) return stdout
  throw new Error(`${call[0]} ${call[1].join(' ')}: exit ${code}\n${stdout}${stderr}`)
}

/** Ours, without proxies: everything in the lab is near. */
function environment(extra: Record<string, string> = {}): NodeJS.ProcessEnv {
  const near = Object.entries(process.env).filter(
    ([name]) => !/^(https?|all|no)_proxy$/i.test(name),
  )
  return { ...Object.fromEntries(near), ...extra }
}

/**
 * A port that nobody listens on, below the range that outgoing connections take theirs from: so that
 * a program can be stopped and started again on it.
 */
export async function freePort(): Promise<number> {
  const server = createServer()
  for (;;) {
    const port = randomInt(15_000, 32_000)
    try {
      await once(server.listen(port), 'listening')
      await new Promise((resolve) => server.close(resolve))
      return port
    } catch {
      // Taken: try another one.
    }
  }
}
