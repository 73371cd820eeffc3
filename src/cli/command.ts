// What a command of the command line is, and the words every one of them shares.

export interface Command {
  /** The synopsis after `portcullis`, such as `serve --config FILE`. */
  usage: string
  /** One line for the list of commands. */
  summary: string
  /**
   * Runs the command with what follows its name. Returns the exit code: 0 done, 1 the work failed;
   * throws UsageError (exit code 2) where the command line or the config is wrong.
   */
  run(argv: readonly string[]): Promise<number>
}

/** Commands by name, loaded only when they are asked for. */
export type CommandTable = Readonly<Record<string, () => Promise<Command>>>
