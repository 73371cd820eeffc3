// `portcullis pki`: an authority and its certificates, one file per sub-command.
import { UsageError } from '../errors.ts'
import { commandNamed, type Command, type CommandTable } from './command.ts'

const subcommands: CommandTable = {
  init: async () => (await import('./pki/init.ts')).command,
  server: async () => (await import('./pki/issue.ts')).server,
  client: async () => (await import('./pki/issue.ts')).client,
  renew: async () => (await import('./pki/renew.ts')).command,
  revoke: async () => (await import('./pki/revoke.ts')).command,
  crl: async () => (await import('./pki/crl.ts')).command,
  list: async () => (await import('./pki/list.ts')).command,
}

export const command: Command = {
  usage: `pki ${Object.keys(subcommands).join('|')} ...`,
  summary: 'Issues certificates, hands them over to clients, renews and revokes them.',
  options: {},
  subcommands,

  async run([name, ...argv]) {
    if (name === undefined) {
      const known = Object.keys(subcommands).join(', ')
      throw new UsageError([{ path: 'pki', message: `say what to do: ${known}` }])
    }
    const subcommand = await commandNamed(subcommands, name)
    return subcommand.run(argv)
  },
}
