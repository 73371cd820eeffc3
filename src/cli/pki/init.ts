// `portcullis pki init`: an authority in a folder.
import { parseArgs } from 'node:util'
import { UsageError } from '../../errors.ts'
import { found } from '../../pki/init.ts'
import type { Command } from '../command.ts'
import {
  algorithmIn,
  byOption,
  daysIn,
  folderHelp,
  folderOf,
  folderOptions,
  shown,
} from './options.ts'

export const command: Command = {
  usage: 'pki init [--name NAME] [--intermediate]',
  summary: 'Makes an authority: ca.crt, ca.key and its revocation list ca.crl.',

  options: `
  --name NAME                common name of the root; "Portcullis CA" when absent
  --intermediate             an issuing authority below the root: ca.key may go into a safe then
  --algorithm ALGORITHM      P-256 (when absent), P-384, RSA-3072 or Ed25519
  --days N                   of the root; 3650 when absent${folderHelp}`,

  async run(argv) {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        ...folderOptions,
        name: { type: 'string', default: 'Portcullis CA' },
        intermediate: { type: 'boolean', default: false },
        algorithm: { type: 'string', default: 'P-256' },
        days: { type: 'string' },
      },
    })
    const options = {
      commonName: values.name,
      intermediate: values.intermediate,
      algorithm: algorithmIn(values.algorithm),
      ...daysIn(values.days),
    }
    const files = await byOption(() => found(folderOf(values), options)).catch(rename)
    for (const file of files) process.stdout.write(`${shown(file)}\n`)
    return 0
  },
}

/** Here the name is an option. */
function rename(error: unknown): never {
  if (!(error instanceof UsageError)) throw error
  throw new UsageError(
    error.problems.map(({ path, message }) => ({
      path: path === 'NAME' ? '--name' : path,
      message,
    })),
  )
}
