// `portcullis pki revoke`: certificates that count no more.
import { UsageError } from '../../errors.ts'
import { revocationReasons, type RevocationReason } from '../../pki/state/ledger.ts'
import { revoke } from '../../pki/revoke.ts'
import { defineCommand } from '../command.ts'
import { printLine } from '../output/print.ts'
import { folderOf, folderOptions, nameIn } from './options.ts'
import { dayOf, tellCrl } from './output.ts'

export const command = defineCommand({
  usage: 'pki revoke NAME [--reason REASON]',
  summary: 'Revokes every certificate of that name, and signs ca.crl anew.',

  options: {
    serial: { type: 'string', value: 'HEX', help: 'revoke this one only, in place of NAME' },
    reason: {
      type: 'string',
      default: 'unspecified',
      value: 'REASON',
      help: revocationReasons.join(', '),
    },
    ...folderOptions,
  },
  takesArguments: true,

  async run({ values, positionals }) {
    const { serial } = values
    if (serial !== undefined && positionals.length > 0) {
      throw new UsageError([{ path: '--serial', message: 'stands in place of NAME: give one' }])
    }
    const which = serial === undefined ? { name: nameIn(positionals) } : { serial }
    const reason = reasonIn(values.reason)
    const { revoked, crl } = await revoke(folderOf(values), { which, reason })
    for (const { name, serial, notAfter } of revoked) {
      printLine(`revoked ${name}, serial ${serial}, until ${dayOf(notAfter)}`)
    }
    tellCrl(crl)
    return 0
  },
})

function reasonIn(text: string): RevocationReason {
  const reason = revocationReasons.find((one) => one === text)
  if (reason !== undefined) return reason
  const message = `there is no "${text}": choose one of ${revocationReasons.join(', ')}`
  throw new UsageError([{ path: '--reason', message }])
}
