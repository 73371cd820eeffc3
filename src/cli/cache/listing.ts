// `portcullis images` and `portcullis blobs`: what the cache holds, in one order, as a table or as JSON.
import { loadConfig } from '../../config/load.ts'
import { roughSize } from '../../config/units.ts'
import { type Command, defineCommand } from '../command.ts'
import { configFile, configOption, jsonOption, matchOption } from '../options.ts'
import { printJson, printTable } from '../output/print.ts'
import type { Column } from '../output/table.ts'
import { allOf, withCache } from './asking.ts'
import { ageOf, type Sortable, sorterOf, sortOption } from './sorting.ts'

interface ImageEntry extends Sortable {
  name: string
  digest: string
  ownSize: number
  missing: number
  pinnedBy: string[]
}

interface BlobEntry extends Sortable {
  digest: string
  mediaType: string
  repositories: string[]
}

export const images = defineListing<ImageEntry>({
  name: 'images',
  summary: 'Lists the images that the cache holds, with size, age, last pull and pin.',
  columns: [
    { title: 'IMAGE' },
    { title: 'DIGEST' },
    { title: 'SIZE', right: true },
    { title: 'ALONE', right: true },
    { title: 'AGE', right: true },
    { title: 'LAST PULL', right: true },
    { title: '' },
  ],
  rowOf({ name, digest, size, ownSize, missing, created, lastPull, pinnedBy }) {
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
  },
})

export const blobs = defineListing<BlobEntry>({
  name: 'blobs',
  summary: 'Lists the files that the cache holds, with size, age, last pull and repositories.',
  columns: [
    { title: 'DIGEST' },
    { title: 'SIZE', right: true },
    { title: 'AGE', right: true },
    { title: 'LAST PULL', right: true },
    { title: 'REPOSITORIES' },
  ],
  rowOf: ({ digest, size, created, lastPull, repositories }) => [
    digest,
    roughSize(size),
    ageOf(created),
    ageOf(lastPull),
    repositories.join(', '),
  ],
})

interface Listing<Entry> {
  /** The name of the command, and of the list of the admin API. */
  name: 'images' | 'blobs'
  summary: string
  columns: readonly Column[]
  rowOf: (entry: Entry) => string[]
}

function defineListing<Entry extends Sortable>(listing: Listing<Entry>): Command {
  const { name, summary, columns, rowOf } = listing
  return defineCommand({
    usage: `${name} [--match GLOB] [--sort size|age|last-pull] [--json] [--config FILE]`,
    summary,

    options: { match: matchOption, sort: sortOption, json: jsonOption, config: configOption },
    takesArguments: false,

    async run({ values }) {
      const sorted = sorterOf(values.sort)
      const config = await loadConfig(configFile(values.config))
      const found = await withCache(config, async (ask) => allOf<Entry>(ask, name, values.match))
      const entries = sorted(found)
      if (values.json) printJson(entries)
      else printTable(columns, entries.map(rowOf))
      return 0
    },
  })
}
