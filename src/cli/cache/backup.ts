// `portcullis backup`: a copy of the cache folder, also of one that is in use.
import { backUpCache } from '../../cache/backup/backup.ts'
import { loadConfig } from '../../config/load.ts'
import { roughSize } from '../../config/units.ts'
import { UsageError } from '../../errors.ts'
import { shelfFile } from '../../transfer/shelf/ledger.ts'
import { defineCommand } from '../command.ts'
import { cacheFolderOption, configFile, configOption, jsonOption } from '../options.ts'
import { printJson, printLine } from '../output/print.ts'
import { openBars } from '../output/progress.ts'

export const command = defineCommand({
  usage: 'backup DIR [--config FILE] [--cache-dir DIR] [--json]',
  summary:
    'Copies the cache folder, also of a running gateway, into another one that can be used at once.',

  options: { config: configOption, 'cache-dir': cacheFolderOption, json: jsonOption },
  takesArguments: true,

  async run({ values, positionals }) {
    const [target, ...others] = positionals
    if (target === undefined || others.length > 0) {
      const message = 'must be one folder, which is empty or not there'
      throw new UsageError([{ path: 'DIR', message }])
    }
    const config = await loadConfig(configFile(values.config))
    const bars = openBars()
    try {
      const summary = await backUpCache({
        dir: values['cache-dir'] ?? config.cache.dir,
        target,
        beside: [shelfFile],
        onBegin: (bytes) => bars.begin(target, bytes).advance,
      })
      bars.stop()
      const { blobs, bytes, linked } = summary
      const what = `${blobs} blobs, ${roughSize(bytes)}, ${linked} of them as hard links`
      if (values.json) printJson({ target, ...summary })
      else printLine(`${target}: ${what}`)
      return 0
    } finally {
      bars.stop()
    }
  },
})
