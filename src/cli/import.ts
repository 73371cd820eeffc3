// `portcullis import`: images from archives and folders into the cache.
import { parseArgs } from 'node:util'
import { loadConfig } from '../config/load.ts'
import { roughSize } from '../config/units.ts'
import { UsageError } from '../errors.ts'
import { formatImage, namingOf, parseDestination } from '../transfer/image-name.ts'
import { importAll, type ImportedImage, type ImportFailure } from '../transfer/import.ts'
import type { Command } from './command.ts'
import { configFile } from './config-file.ts'
import { openBars } from './progress.ts'

export const command: Command = {
  usage:
    'import PATH ... [--as UPSTREAM[/REPOSITORY[:TAG]]] [--config FILE] [--cache-dir DIR] [--json]',
  summary:
    'Brings images into the cache: tars of docker save, crane and ctr, OCI layouts, images/ trees.',

  async run(argv) {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        as: { type: 'string' },
        config: { type: 'string' },
        'cache-dir': { type: 'string' },
        json: { type: 'boolean', default: false },
      },
    })
    if (positionals.length === 0) {
      throw new UsageError([{ path: 'PATH', message: 'is missing: name what is to be imported' }])
    }
    const config = await loadConfig(configFile(values.config))
    const naming = namingOf(config)
    const bars = openBars()
    try {
      const summary = await importAll(positionals, {
        dir: values['cache-dir'] ?? config.cache.dir,
        naming,
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
}

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
    process.stdout.write(`${JSON.stringify(all, null, 2)}\n`)
    return
  }
  for (const { names, digest, written, absent } of imported) {
    const without = absent.length === 0 ? '' : `, without ${absent.join(', ')}`
    for (const name of names) {
      process.stdout.write(`${formatImage(name)} ${digest} (${roughSize(written)} new${without})\n`)
    }
  }
  for (const { path, message } of failed) process.stderr.write(`failed: ${at(path, message)}\n`)
}

function at(path: string, message: string): string {
  return message.startsWith(`${path}:`) ? message : `${path}: ${message}`
}
