// `portcullis import`: images from archives and folders into the cache.
import { loadConfig } from '../config/load.ts'
import { roughSize } from '../config/units.ts'
import { UsageError } from '../errors.ts'
import { readVerifyKey } from '../transfer/bundle/signature.ts'
import { formatImage, namingOf, parseDestination } from '../transfer/image-name.ts'
import { importAll, type ImportedImage, type ImportFailure } from '../transfer/import.ts'
import { defineCommand } from './command.ts'
import { cacheFolderOption, configFile, configOption, jsonOption } from './options.ts'
import { printJson, printLine, printNote } from './output/print.ts'
import { openBars } from './output/progress.ts'

export const command = defineCommand({
  usage:
    'import PATH ... [--as UPSTREAM[/REPOSITORY[:TAG]]] [--verify-key KEY] [--config FILE] [--cache-dir DIR] [--json]',
  summary:
    'Brings images into the cache: tars of docker save, crane and ctr, OCI layouts, images/ trees.',

  options: {
    as: {
      type: 'string',
      value: 'UPSTREAM[/REPOSITORY[:TAG]]',
      help: 'where the images belong, as far as their own names shall not say',
    },
    'verify-key': {
      type: 'string',
      value: 'KEY',
      help: 'a PEM public key or certificate: take only bundles that it has signed, and that are as signed',
    },
    config: configOption,
    'cache-dir': cacheFolderOption,
    json: jsonOption,
  },
  takesArguments: true,

  async run({ values, positionals }) {
    if (positionals.length === 0) {
      throw new UsageError([{ path: 'PATH', message: 'is missing: name what is to be imported' }])
    }
    const config = await loadConfig(configFile(values.config))
    const naming = namingOf(config)
    const verifyKey = values['verify-key']
    const key = verifyKey === undefined ? {} : { verifyKey: readVerifyKey(verifyKey) }
    const bars = openBars()
    try {
      const summary = await importAll(positionals, {
        dir: values['cache-dir'] ?? config.cache.dir,
        naming,
        ...key,
        ...(values.as === undefined ? {} : { as: parseDestination(values.as, naming) }),
        onImage(label, bytes) {
          const bar = bars.begin(label, bytes)
          return { advance: bar.advance, end: bar.end }
        },
      })
      bars.stop()
      tell(summary, values.json)
      return summary.failed.length === 0 ? 0 : 1
    } finally {
      bars.stop()
    }
  },
})

interface Summary {
  imported: ImportedImage[]
  failed: ImportFailure[]
}

function tell({ imported, failed }: Summary, json: boolean): void {
  if (json) {
    const withNames = <T extends ImportedImage | ImportFailure>(entry: T) => ({
      ...entry,
      names: entry.names.map(formatImage),
    })
    const all = { imported: imported.map(withNames), failed: failed.map(withNames) }
    printJson(all)
    return
  }
  for (const { names, digest, written, absent } of imported) {
    const without = absent.length === 0 ? '' : `, without ${absent.join(', ')}`
    for (const name of names) {
      printLine(`${formatImage(name)} ${digest} (${roughSize(written)} new${without})`)
    }
  }
  for (const { path, message } of failed) printNote(`failed: ${at(path, message)}`)
}

function at(path: string, message: string): string {
  return message.startsWith(`${path}:`) ? message : `${path}: ${message}`
}
