// `portcullis pki renew`: the same certificate with new dates.
import { renew } from '../../pki/renew.ts'
import { defineCommand } from '../command.ts'
import { handoverOptions, planOf } from './hand-over.ts'
import {
  byOption,
  daysIn,
  folderOf,
  folderOptions,
  keyPassphraseOption,
  nameIn,
  passphraseIn,
} from './options.ts'
import { tellIssuance } from './output.ts'

export const command = defineCommand({
  usage: 'pki renew NAME [--new-key]',
  summary: 'Renews a certificate of any kind, "ca" and "issuing" included, with its names.',

  options: {
    'new-key': {
      type: 'boolean',
      default: false,
      help: 'make a new key of the same kind; otherwise the key stays as it is',
    },
    'passphrase-file': keyPassphraseOption,
    days: { type: 'string', value: 'N', help: 'as of today; the usual number when absent' },
    ...handoverOptions,
    ...folderOptions,
  },
  takesArguments: true,

  async run({ values, positionals }) {
    const plan = planOf(values)
    const keyPassphrase = passphraseIn(values['passphrase-file'], '--passphrase-file')
    const issuance = await byOption(() =>
      renew(folderOf(values), nameIn(positionals), {
        ...daysIn(values.days),
        newKey: values['new-key'],
        ...(keyPassphrase === undefined ? {} : { keyPassphrase }),
        ...(plan === undefined ? {} : { companions: plan.files }),
      }),
    )
    tellIssuance(issuance)
    plan?.tell(issuance)
    return 0
  },
})
