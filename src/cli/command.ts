// What a command of the command line is, and the words every one of them shares.
import { UsageError } from '../errors.ts'

export interface Command {
  /** The synopsis after `portcullis`, such as `serve --config FILE`. */
  usage: string
  /** One line for the list of commands. */
  summary: string
  /** Its options, a line or more each, for `--help`. */
  options?: string
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

/** Loads a command. Throws UsageError where the table has none of that name. */
export async function commandNamed(table: CommandTable, name: string): Promise<Command> {
  const load = Object.hasOwn(table, name) ? table[name] : undefined
  if (load !== undefined) return load()
  const known = Object.keys(table).join(', ')
  throw new UsageError([{ path: name, message: `is no command; there are ${known}` }])
}
