// `portcullis pki crl`: the revocation lists with a new date.
import { refreshCrl } from '../../pki/revoke.ts'
import { defineCommand } from '../command.ts'
import { byOption, daysIn, folderOf, folderOptions } from './options.ts'
import { tellCrl } from './output.ts'

export const command = defineCommand({
  usage: 'pki crl [--days N]',
  summary: 'Signs ca.crl anew: to be done before it ends, by a timer for instance.',

  options: {
    days: { type: 'string', value: 'N', help: 'until the next one is due; 90 when absent' },
    ...folderOptions,
  },
  takesArguments: false,

  async run({ values }) {
    const { days } = daysIn(values.days)
    tellCrl(await byOption(() => refreshCrl(folderOf(values), days)))
    return 0
  },
})
