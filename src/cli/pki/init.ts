// `portcullis pki init`: an authority in a folder.
import { UsageError } from '../../errors.ts'
import { found } from '../../pki/init.ts'
import { defineCommand } from '../command.ts'
import { printLine } from '../output/print.ts'
import {
  algorithmIn,
  algorithmOption,
  byOption,
  daysIn,
  folderOf,
  folderOptions,
  shown,
} from './options.ts'

export const command = defineCommand({
  usage: 'pki init [--name NAME] [--intermediate]',
  summary: 'Makes an authority: ca.crt, ca.key and its revocation list ca.crl.',

  options: {
    name: {
      type: 'string',
      default: 'Portcullis CA',
      value: 'NAME',
      help: 'common name of the root',
    },
    intermediate: {
      type: 'boolean',
      default: false,
      help: 'an issuing authority below the root: ca.key may go into a safe then',
    },
    algorithm: algorithmOption,
    days: { type: 'string', value: 'N', help: 'of the root; 3650 when absent' },
    ...folderOptions,
  },
  takesArguments: false,

  async run({ values }) {
    const options = {
      commonName: values.name,
      intermediate: values.intermediate,
      algorithm: algorithmIn(values.algorithm),
      ...daysIn(values.days),
    }
    const files = await byOption(() => found(folderOf(values), options)).catch(rename)
    for (const file of files) printLine(shown(file))
    return 0
  },
})

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
