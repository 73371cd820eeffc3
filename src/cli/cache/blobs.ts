// `portcullis blobs`: what single contents the cache holds.
import { loadConfig } from '../../config/load.ts'
import { roughSize } from '../../config/units.ts'
import { defineCommand } from '../command.ts'
import { configFile, configOption, jsonOption, matchOption } from '../options.ts'
import { printJson, printTable } from '../output/print.ts'
import { allOf, withCache } from './asking.ts'
import { ageOf, sorterOf, sortOption } from './sorting.ts'

interface BlobEntry {
  digest: string
  mediaType: string
  size: number
  created: string
  lastPull: string
  repositories: string[]
}

export const command = defineCommand({
  usage: 'blobs [--match GLOB] [--sort size|age|last-pull] [--json] [--config FILE]',
  summary: 'Lists the files that the cache holds, with size, age, last pull and repositories.',

  options: { match: matchOption, sort: sortOption, json: jsonOption, config: configOption },
  takesArguments: false,

  async run({ values }) {
    const sorted = sorterOf(values.sort)
    const config = await loadConfig(configFile(values.config))
    const found = await withCache(config, async (ask) =>
      allOf<BlobEntry>(ask, 'blobs', values.match),
    )
    const blobs = sorted(found)
    if (values.json) printJson(blobs)
    else {
      printTable(
        [
          { title: 'DIGEST' },
          { title: 'SIZE', right: true },
          { title: 'AGE', right: true },
          { title: 'LAST PULL', right: true },
          { title: 'REPOSITORIES' },
        ],
        blobs.map(({ digest, size, created, lastPull, repositories }) => [
          digest,
          roughSize(size),
          ageOf(created),
          ageOf(lastPull),
          repositories.join(', '),
        ]),
      )
    }
    return 0
  },
})
