// `portcullis pki crl`: the revocation lists with a new date.
import { parseArgs } from 'node:util'
import { refreshCrl } from '../../pki/revoke.ts'
import type { Command } from '../command.ts'
import { byOption, daysIn, folderHelp, folderOf, folderOptions } from './options.ts'
import { tellCrl } from './output.ts'

export const command: Command = {
  usage: 'pki crl [--days N]',
  summary: 'Signs ca.crl anew: to be done before it ends, by a timer for instance.',

  options: `
  --days N                   until the next one is due; 90 when absent${folderHelp}`,

  async run(argv) {
    const { values } = parseArgs({
      args: [...argv],
      options: { ...folderOptions, days: { type: 'string' } },
    })
    const { days } = daysIn(values.days)
    tellCrl(await byOption(() => refreshCrl(folderOf(values), days)))
    return 0
  },
}
