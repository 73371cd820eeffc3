// Every command by name; a command is loaded when it is asked for.
import type { CommandTable } from './command.ts'

export const commands: CommandTable = {
  serve: async () => (await import('./serve.ts')).command,
  demo: async () => (await import('./demo.ts')).command,
  check: async () => (await import('./check.ts')).command,
  doctor: async () => (await import('./doctor.ts')).command,
  export: async () => (await import('./export.ts')).command,
  import: async () => (await import('./import.ts')).command,
  preload: async () => (await import('./preload.ts')).command,
  pki: async () => (await import('./pki.ts')).command,
}
