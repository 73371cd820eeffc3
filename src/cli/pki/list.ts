// `portcullis pki list`: what was issued, and how long it lasts.
import { parseArgs } from 'node:util'
import { inventory, type InventoryItem } from '../../pki/state/inventory.ts'
import type { Command } from '../command.ts'
import { formatTable } from '../table.ts'
import { folderHelp, folderOf, folderOptions } from './options.ts'
import { dayOf } from './output.ts'

export const command: Command = {
  usage: 'pki list [--all] [--json]',
  summary: 'Lists the certificates and the revocation list, what ends first on top.',

  options: `
  --all                      also those that a later one of the same name has replaced
  --json                     an array of objects, with dates, names and fingerprints${folderHelp}`,

  async run(argv) {
    const { values } = parseArgs({
      args: [...argv],
      options: {
        ...folderOptions,
        all: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
      },
    })
    const items = inventory(folderOf(values).dir, new Date()).filter(
      ({ status }) => values.all || status !== 'replaced',
    )
    process.stdout.write(values.json ? `${JSON.stringify(items, null, 2)}\n` : tableOf(items))
    return 0
  },
}

const columns = [
  { title: 'NAME' },
  { title: 'KIND' },
  { title: 'STATUS' },
  { title: 'DAYS LEFT', right: true },
  { title: 'UNTIL' },
  { title: 'SERIAL' },
]

function tableOf(items: readonly InventoryItem[]): string {
  const rows = items.map(({ name, kind, status, daysLeft, notAfter, serial = '' }) => [
    name,
    kind,
    status,
    String(daysLeft),
    dayOf(notAfter),
    serial,
  ])
  return formatTable(columns, rows)
}
