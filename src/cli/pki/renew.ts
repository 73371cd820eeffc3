// `portcullis pki renew`: the same certificate with new dates.
import { parseArgs } from 'node:util'
import { renew } from '../../pki/renew.ts'
import type { Command } from '../command.ts'
import { handOver, handoverHelp, handoverOptions, planOf } from './hand-over.ts'
import {
  byOption,
  daysIn,
  folderHelp,
  folderOf,
  folderOptions,
  keyOptions,
  nameIn,
  passphraseIn,
} from './options.ts'
import { tellIssuance } from './output.ts'

export const command: Command = {
  usage: 'pki renew NAME [--new-key]',
  summary: 'Renews a certificate of any kind, "ca" and "issuing" included, with its names.',

  options: `
  --new-key                  make a new key of the same kind; otherwise the key stays as it is
  --passphrase-file FILE     encrypt the new key
  --days N                   as of today; the usual number when absent
${handoverHelp}${folderHelp}`,

  async run(argv) {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        ...folderOptions,
        ...keyOptions,
        ...handoverOptions,
        'new-key': { type: 'boolean', default: false },
      },
    })
    const plan = planOf(values)
    const keyPassphrase = passphraseIn(values['passphrase-file'], '--passphrase-file')
    const issuance = await byOption(() =>
      renew(folderOf(values), nameIn(positionals), {
        ...daysIn(values.days),
        newKey: values['new-key'],
        ...(keyPassphrase === undefined ? {} : { keyPassphrase }),
      }),
    )
    tellIssuance(issuance)
    if (plan !== undefined) await byOption(() => handOver(values.dir, issuance, plan))
    return 0
  },
}
