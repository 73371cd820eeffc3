// Runs commands in this process: a Node for each would take most of a suite's time.
import { AsyncLocalStorage } from 'node:async_hooks'
import { run } from '../../src/cli/run.ts'

export interface CommandResult {
  status: number
  stdout: string
  stderr: string
}

export interface CommandSurroundings {
  cwd?: string
  /** In place of the environment of this process. */
  env?: NodeJS.ProcessEnv
}

/** What `portcullis` with `args` prints and exits with; one at a time. */
export async function runCommand(
  args: readonly string[],
  { cwd, env }: CommandSurroundings = {},
): Promise<CommandResult> {
  const before = { cwd: process.cwd(), env: process.env }
  // What the test itself prints meanwhile goes where it went before.
  const isCommand = new AsyncLocalStorage<true>()
  const stdout = capture(process.stdout, isCommand)
  const stderr = capture(process.stderr, isCommand)
  try {
    if (cwd !== undefined) process.chdir(cwd)
    if (env !== undefined) process.env = { ...env }
    const status = await isCommand.run(true, () => run(args))
    return { status, stdout: stdout.text(), stderr: stderr.text() }
  } finally {
    stdout.release()
    stderr.release()
    process.chdir(before.cwd)
    process.env = before.env
  }
}

function capture(stream: NodeJS.WriteStream, isCommand: AsyncLocalStorage<true>) {
  const write = stream.write.bind(stream)
  const chunks: Buffer[] = []
  stream.write = (chunk: string | Uint8Array, ...rest: unknown[]) => {
    if (isCommand.getStore() === undefined) return write(chunk, ...(rest as []))
    chunks.push(Buffer.from(chunk as string))
    return true
  }
  return {
    text: () => Buffer.concat(chunks).toString('utf8'),
    release: () => {
      stream.write = write
    },
  }
}
