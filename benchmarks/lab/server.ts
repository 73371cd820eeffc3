// A server that is measured: a real program, whose output goes to a file as it does in production.
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { isAbsolute, join } from 'node:path'
import { startProgram } from '../../test/e2e/lab/program.ts'
import { findProgram } from '../../test/requirements.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'

export interface Server {
  /** As it is printed. */
  name: string
  port: number
  /** Its first process: what it has used is what this one and its children have. */
  pid: number
  folder: string
  /** Behind every target, for one that has to be told whom to ask. */
  query?: string
  stop: () => Promise<unknown>
}

/** Paths of PEM files: one authority, and what servers and clients show to each other. */
export interface Identities {
  ca: string
  server: { cert: string; key: string }
  client: { cert: string; key: string }
}

interface ServerOptions {
  name: string
  folder: string
  command: string
  args: readonly string[]
  env?: Record<string, string>
  /** The port on which it can be asked, once it can. */
  ready: (output: string) => Promise<number | undefined>
}

/** Starts it, stopped with the scope. */
export async function startServer(scope: Scope, options: ServerOptions): Promise<Server> {
  const { name, folder, command, args, env = {}, ready } = options
  const program = isAbsolute(command) ? command : findProgram(command)
  if (program === undefined) throw new Error(`${command} is missing; see benchmarks/README.md`)
  const output = join(folder, 'output.log')
  let port: number | undefined
  const { pid, stop } = await startProgram(scope, {
    command: 'sh',
    args: ['-c', 'exec "$@" >"$0" 2>&1', output, program, ...args],
    env,
    ready: async () => {
      port = await ready(readFileSync(output, { encoding: 'utf8', flag: 'a+' }))
      return port !== undefined
    },
  })
  return { name, port: port ?? 0, pid, folder, stop }
}

/** Whether anybody accepts connections on the port. */
export async function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}
