#!/usr/bin/env node
// From argv to a command, and from what it throws to an exit code.
import { setFlagsFromString } from 'node:v8'
import { commandNamed, type Command, type CommandTable } from './cli/command.ts'
import { commands } from './cli/commands.ts'
import { UsageError } from './errors.ts'

// Bodies arrive in pieces of 64 KiB outside of the heap, which a collection of the young generation
// gives back. It collects the more rarely the larger it is: grown to its limit, 80 MiB lie around.
setFlagsFromString('--semi-space-growth-factor=1')

process.exitCode = await main(process.argv.slice(2))

async function main([name, ...argv]: string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === 'help') {
    process.stdout.write(await overview(commands))
    return name === undefined ? 2 : 0
  }
  try {
    const command = await commandNamed(commands, name)
    if (argv.includes('--help')) {
      process.stdout.write(await helpOf(command, argv))
      return 0
    }
    return await command.run(argv)
  } catch (error) {
    return report(error)
  }
}

async function helpOf(command: Command, [name = '', ...argv]: string[]): Promise<string> {
  const { usage, summary, options, subcommands } = command
  if (subcommands === undefined) return `portcullis ${usage}\n\n${summary}\n${options ?? ''}`
  if (!Object.hasOwn(subcommands, name)) return overview(subcommands)
  return helpOf(await commandNamed(subcommands, name), argv)
}

function report(error: unknown): number {
  if (error instanceof UsageError) {
    process.stderr.write(`${error.message}\n`)
    return 2
  }
  if (
    error instanceof Error &&
    'code' in error &&
    String(error.code).startsWith('ERR_PARSE_ARGS')
  ) {
    process.stderr.write(`${error.message} (see --help)\n`)
    return 2
  }
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  return 1
}

async function overview(table: CommandTable): Promise<string> {
  const lines = await Promise.all(
    Object.values(table).map(async (load) => {
      const { usage, summary } = await load()
      return `  portcullis ${usage}\n      ${summary}\n`
    }),
  )
  return `Usage:\n\n${lines.join('\n')}\nExit codes: 0 done, 1 the work failed, 2 wrong usage or config.\n`
}
