// `portcullis pki list`: what was issued, and how long it lasts.
import { inventory, type InventoryItem } from '../../pki/state/inventory.ts'
import { defineCommand } from '../command.ts'
import { printJson, printTable } from '../output/print.ts'
import { folderOf, folderOptions } from './options.ts'
import { dayOf } from './output.ts'

export const command = defineCommand({
  usage: 'pki list [--all] [--json]',
  summary: 'Lists the certificates and the revocation list, what ends first on top.',

  options: {
    all: {
      type: 'boolean',
      default: false,
      help: 'also those that a later one of the same name has replaced',
    },
    json: {
      type: 'boolean',
      default: false,
      help: 'an array of objects, with dates, names and fingerprints',
    },
    ...folderOptions,
  },
  takesArguments: false,

  async run({ values }) {
    const items = inventory(folderOf(values).dir, new Date()).filter(
      ({ status }) => values.all || status !== 'replaced',
    )
    if (values.json) printJson(items)
    else printTable(columns, rowsOf(items))
    return 0
  },
})

const columns = [
  { title: 'NAME' },
  { title: 'KIND' },
  { title: 'STATUS' },
  { title: 'DAYS LEFT', right: true },
  { title: 'UNTIL' },
  { title: 'SERIAL' },
]

function rowsOf(items: readonly InventoryItem[]): string[][] {
  return items.map(({ name, kind, status, daysLeft, notAfter, serial = '' }) => [
    name,
    kind,
    status,
    String(daysLeft),
    dayOf(notAfter),
    serial,
  ])
}
