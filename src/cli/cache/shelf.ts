// `portcullis shelf`: what the site must hold, what of it is missing, and since when.
import { loadConfig } from '../../config/load.ts'
import { readShelf } from '../../transfer/shelf/ledger.ts'
import type { ShelfRow } from '../../transfer/shelf/schema.ts'
import { defineCommand } from '../command.ts'
import { cacheFolderOption, configFile, configOption, jsonOption } from '../options.ts'
import { printJson, printLine, printTable } from '../output/print.ts'

export const command = defineCommand({
  usage: 'shelf [--check] [--config FILE] [--cache-dir DIR] [--json]',
  summary: 'Shows what this site must hold, what of it is missing, and since when.',

  options: {
    check: {
      type: 'boolean',
      default: false,
      help: 'end with exit code 1 where something is missing',
    },
    config: configOption,
    'cache-dir': cacheFolderOption,
    json: jsonOption,
  },
  takesArguments: false,

  async run({ values }) {
    const config = await loadConfig(configFile(values.config))
    const known = readShelf(values['cache-dir'] ?? config.cache.dir)
    const rows = config.shelf.entries.flatMap(({ image }): ShelfRow[] => {
      const found = known.filter(({ entry }) => entry === image)
      return found.length > 0 ? found : [{ entry: image, image, problem: 'no gateway has looked' }]
    })
    const images = rows.map(({ missingSince, checkedAt, ...row }) => ({
      ...row,
      isMissing: missingSince !== undefined || checkedAt === undefined,
      missingSince: timeOf(missingSince),
      checkedAt: timeOf(checkedAt),
    }))
    const missing = images.filter(({ isMissing }) => isMissing).length
    if (values.json) printJson({ images, missing })
    else tell(images, missing)
    return values.check && missing > 0 ? 1 : 0
  },
})

/** ISO 8601. */
function timeOf(ms: number | undefined): string | undefined {
  return ms === undefined ? undefined : new Date(ms).toISOString()
}

interface Image {
  image: string
  isMissing: boolean
  missingSince: string | undefined
  checkedAt: string | undefined
  problem?: string
}

function tell(images: readonly Image[], missing: number): void {
  if (images.length > 0) {
    printTable(
      ['IMAGE', 'STATE', 'SINCE', 'CHECKED', 'PROBLEM'].map((title) => ({ title })),
      images.map(({ image, isMissing, missingSince = '', checkedAt = '', problem = '' }) => [
        image,
        isMissing ? 'missing' : 'here',
        missingSince,
        checkedAt,
        problem,
      ]),
    )
  }
  printLine(`${images.length} on the shelf, ${missing} missing`)
}
