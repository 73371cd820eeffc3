// `portcullis images`: what images the cache holds.
import { loadConfig } from '../../config/load.ts'
import { roughSize } from '../../config/units.ts'
import { defineCommand } from '../command.ts'
import { configFile, configOption, jsonOption, matchOption } from '../options.ts'
import { printJson, printTable } from '../output/print.ts'
import { allOf, withCache } from './asking.ts'
import { ageOf, sorterOf, sortOption } from './sorting.ts'

interface ImageEntry {
  name: string
  digest: string
  size: number
  ownSize: number
  missing: number
  created: string
  lastPull: string
  pinnedBy: string[]
}

export const command = defineCommand({
  usage: 'images [--match GLOB] [--sort size|age|last-pull] [--json] [--config FILE]',
  summary: 'Lists the images that the cache holds, with size, age, last pull and pin.',

  options: { match: matchOption, sort: sortOption, json: jsonOption, config: configOption },
  takesArguments: false,

  async run({ values }) {
    const sorted = sorterOf(values.sort)
    const config = await loadConfig(configFile(values.config))
    const found = await withCache(config, async (ask) =>
      allOf<ImageEntry>(ask, 'images', values.match),
    )
    const images = sorted(found)
    if (values.json) printJson(images)
    else {
      printTable(
        [
          { title: 'IMAGE' },
          { title: 'DIGEST' },
          { title: 'SIZE', right: true },
          { title: 'ALONE', right: true },
          { title: 'AGE', right: true },
          { title: 'LAST PULL', right: true },
          { title: '' },
        ],
        images.map(rowOf),
      )
    }
    return 0
  },
})

function rowOf(image: ImageEntry): string[] {
  const { name, digest, size, ownSize, missing, created, lastPull, pinnedBy } = image
  const notes = [
    ...(pinnedBy.length > 0 ? [`pinned by ${pinnedBy.join(', ')}`] : []),
    ...(missing > 0 ? [`${missing} not here`] : []),
  ]
  return [
    name,
    digest.slice(0, 'sha256:'.length + 12),
    roughSize(size),
    roughSize(ownSize),
    ageOf(created),
    ageOf(lastPull),
    notes.join('; '),
  ]
}
