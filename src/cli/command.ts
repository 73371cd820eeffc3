// Defines what a command of the command line is: one table of options parses them and explains them.
import { parseArgs, type ParseArgsOptionDescriptor } from 'node:util'
import { UsageError } from '../errors.ts'

/** An option as node:util parses it, and what `--help` says of it. */
export interface CommandOption extends ParseArgsOptionDescriptor {
  /** What stands for its value, such as `FILE`. */
  value?: string
  /** What it does; its default is told beside it. */
  help: string
}

export type OptionTable = Readonly<Record<string, CommandOption>>

/** The values of the options, and what else stands on the command line. */
export type CommandLine<Options extends OptionTable> = ReturnType<
  typeof parseArgs<{ options: Options; allowPositionals: true }>
>

export interface Command {
  /** The synopsis after `portcullis`, such as `serve --config FILE`. */
  usage: string
  /** One line for the list of commands. */
  summary: string
  options: OptionTable
  /** What its first argument chooses from, where it is a family of commands. */
  subcommands?: CommandTable
  /**
   * Runs the command with what follows its name. Returns the exit code: 0 done, 1 the work failed;
   * throws UsageError (exit code 2) where the command line or the config is wrong.
   */
  run(argv: readonly string[]): Promise<number>
}

/** Commands by name, loaded only when they are asked for. */
export type CommandTable = Readonly<Record<string, () => Promise<Command>>>

/** A command whose `run` gets the command line as its own table of options reads it. */
export function defineCommand<const Options extends OptionTable>(definition: {
  usage: string
  summary: string
  options: Options
  /** Whether anything may stand beside the options. */
  takesArguments: boolean
  run: (line: CommandLine<Options>) => Promise<number>
}): Command {
  const { usage, summary, options, takesArguments } = definition
  return {
    usage,
    summary,
    options,
    async run(argv) {
      const line = parseArgs({ args: [...argv], options, allowPositionals: takesArguments })
      return definition.run(line)
    },
  }
}

/** Loads a command. Throws UsageError where the table has none of that name. */
export async function commandNamed(table: CommandTable, name: string): Promise<Command> {
  const load = Object.hasOwn(table, name) ? table[name] : undefined
  if (load !== undefined) return load()
  const known = Object.keys(table).join(', ')
  throw new UsageError([{ path: name, message: `is no command; there are ${known}` }])
}
