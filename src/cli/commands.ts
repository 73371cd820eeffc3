// Every command by name; a command is loaded when it is asked for.
import type { CommandTable } from './command.ts'

export const commands: CommandTable = {
  check: async () => (await import('./check.ts')).command,
}
