// `portcullis export`: images of the cache as one archive.
import { loadConfig } from '../config/load.ts'
import { formatSize, parseSize, roughSize } from '../config/units.ts'
import { UsageError } from '../errors.ts'
import { readSignKey } from '../transfer/bundle/signature.ts'
import { exportImages, type ExportSummary } from '../transfer/export.ts'
import { formatImage, namingOf, parseImage } from '../transfer/image-name.ts'
import { defineCommand } from './command.ts'
import { cacheFolderOption, configFile, configOption, jsonOption } from './options.ts'
import { printJson, printLine, printNote } from './output/print.ts'
import { openBars } from './output/progress.ts'

export const command = defineCommand({
  usage:
    'export IMAGE ... -o FILE [--since BUNDLE] [--sign-key KEY] [--piece-size SIZE] [--platform OS/ARCH] [--config FILE] [--cache-dir DIR] [--json]',
  summary:
    'Writes images of the cache, with all their platforms and referrers, into one OCI-layout tar.',

  options: {
    output: { type: 'string', short: 'o', value: 'FILE', help: 'the tar to be written' },
    since: {
      type: 'string',
      value: 'BUNDLE',
      help: 'a bundle that the other side has imported: only what it lacks is written',
    },
    'sign-key': {
      type: 'string',
      value: 'KEY',
      help: 'a PEM private key, which signs the list of what the bundle holds',
    },
    'piece-size': {
      type: 'string',
      value: 'SIZE',
      help: 'write FILE.001 and so on, each at most so large, such as 4GiB, and FILE.pieces',
    },
    platform: {
      type: 'string',
      default: ownPlatform(),
      value: 'OS/ARCH',
      help: 'which platform of an image docker load takes; all of them are written',
    },
    config: configOption,
    'cache-dir': cacheFolderOption,
    json: jsonOption,
  },
  takesArguments: true,

  async run({ values, positionals }) {
    const file = values.output
    if (positionals.length === 0) throw missing('IMAGE', 'name the images to be exported')
    if (file === undefined) throw missing('-o', 'name the file to be written')
    const signKey = values['sign-key']
    const pieceSize = pieceSizeOf(values['piece-size'])
    const config = await loadConfig(configFile(values.config))
    const names = positionals.map((text) => parseImage(text, namingOf(config)))
    const bars = openBars()
    try {
      const summary = await exportImages(names, {
        dir: values['cache-dir'] ?? config.cache.dir,
        file,
        platform: values.platform,
        ...(values.since !== undefined && { since: values.since }),
        ...(signKey !== undefined && { signKey: readSignKey(signKey) }),
        ...(pieceSize !== undefined && { pieceSize }),
        onBegin: (bytes) => bars.begin(file, bytes).advance,
      })
      bars.stop()
      tell(summary, values.json)
      return summary.failed.length === 0 ? 0 : 1
    } finally {
      bars.stop()
    }
  },
})

const smallestPiece = 64 * 2 ** 10

function pieceSizeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const size = parseSize(text)
  if (size !== undefined && size >= smallestPiece) return size
  const message = `must be a size of at least ${formatSize(smallestPiece)}, such as 4GiB`
  throw new UsageError([{ path: '--piece-size', message }])
}

function ownPlatform(): string {
  return `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`
}

function missing(path: string, what: string): UsageError {
  return new UsageError([{ path, message: `is missing: ${what}` }])
}

function tell({ exported, omitted, failed }: ExportSummary, json: boolean): void {
  if (json) {
    const withName = <T extends { name: Parameters<typeof formatImage>[0] }>(entry: T) => ({
      ...entry,
      name: formatImage(entry.name),
    })
    const all = { exported: exported.map(withName), omitted, failed: failed.map(withName) }
    printJson(all)
    return
  }
  for (const { name, digest, absent, related } of exported) {
    const without = absent.length === 0 ? '' : `, without ${absent.join(', ')}`
    printLine(`${formatImage(name)} ${digest} (${related.length} referrers${without})`)
  }
  if (omitted > 0) printLine(`left out: ${roughSize(omitted)} that the other side has`)
  for (const { message } of failed) printNote(`failed: ${message}`)
}
