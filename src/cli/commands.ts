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
  images: async () => (await import('./cache/listing.ts')).images,
  blobs: async () => (await import('./cache/listing.ts')).blobs,
  prune: async () => (await import('./cache/prune.ts')).command,
  pin: async () => (await import('./cache/pin.ts')).pin,
  unpin: async () => (await import('./cache/pin.ts')).unpin,
  rm: async () => (await import('./cache/rm.ts')).command,
  verify: async () => (await import('./cache/verify.ts')).command,
  backup: async () => (await import('./cache/backup.ts')).command,
  shelf: async () => (await import('./cache/shelf.ts')).command,
  pki: async () => (await import('./pki.ts')).command,
  health: async () => (await import('./service/health.ts')).command,
  migrate: async () => (await import('./migrate/migrate.ts')).command,
  schema: async () => (await import('./program/schema.ts')).command,
  completion: async () => (await import('./program/completion.ts')).completionOf(commands),
}
