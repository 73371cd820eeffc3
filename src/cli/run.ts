// Leads from the arguments of a command line to a command, and from what it throws to an exit code.
import { messageOf, UsageError } from '../errors.ts'
import { commandNamed } from './command.ts'
import { commands } from './commands.ts'
import { helpOf, overviewOf } from './help.ts'
import { printNote, printVersion } from './output/print.ts'

/**
 * Runs `portcullis` with `argv`, what follows its name. Returns the exit code: 0 done, 1 the work
 * failed, 2 the command line or the config is wrong; every problem is on stderr then. Never rejects.
 */
export async function run(argv: readonly string[]): Promise<number> {
  try {
    const [name, ...rest] = argv[0] === 'help' ? [...argv.slice(1), '--help'] : argv
    const options = new Set(argv.slice(0, [...argv, '--'].indexOf('--')))
    if (options.has('--version')) {
      printVersion()
      return 0
    }
    const isHelp = options.has('--help') || options.has('-h') || argv[0] === 'help'
    if (name === undefined || name.startsWith('-')) {
      if (name !== undefined && !isHelp) await commandNamed(commands, name)
      process.stdout.write(await overviewOf(commands))
      return name === undefined ? 2 : 0
    }
    const command = await commandNamed(commands, name)
    if (!isHelp) return await command.run(rest)
    process.stdout.write(await helpOf(command, rest))
    return 0
  } catch (error) {
    return report(error)
  }
}

function report(error: unknown): number {
  if (error instanceof UsageError) {
    for (const { path, message } of error.problems) printNote(`${path}: ${message}`)
    return 2
  }
  const message = messageOf(error)
  if (
    error instanceof Error &&
    'code' in error &&
    String(error.code).startsWith('ERR_PARSE_ARGS')
  ) {
    printNote(`${message} (see --help)`)
    return 2
  }
  printNote(message)
  return 1
}
