#!/usr/bin/env node
// Leads from argv to a command, and from what it throws to an exit code.
import { setFlagsFromString } from 'node:v8'
import { commandNamed } from './cli/command.ts'
import { commands } from './cli/commands.ts'
import { helpOf, overviewOf } from './cli/help.ts'
import { outliveReaders, printNote, printVersion } from './cli/output/print.ts'
import { messageOf, UsageError } from './errors.ts'

// Bodies arrive in pieces of 64 KiB outside of the heap, which a collection of the young generation
// gives back. It collects the more rarely the larger it is: grown to its limit, 80 MiB lie around.
setFlagsFromString('--semi-space-growth-factor=1')

outliveReaders()
process.exitCode = await main(process.argv.slice(2))

async function main(argv: string[]): Promise<number> {
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
