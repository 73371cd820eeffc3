// `portcullis prune`: takes images out of the cache by age, last pull, name or size.
import { loadConfig } from '../../config/load.ts'
import { roughSize } from '../../config/units.ts'
import { UsageError } from '../../errors.ts'
import { defineCommand } from '../command.ts'
import { configFile, configOption, jsonOption, matchOption } from '../options.ts'
import { printJson, printLine } from '../output/print.ts'
import { withCache } from './asking.ts'
import { pruneShared, type PruneAnswer } from './shared-prune.ts'

export const command = defineCommand({
  usage:
    'prune [--older-than AGE] [--not-pulled-for AGE] [--match GLOB] [--untagged] [--to SIZE] [--shared] [--dry-run] [--json] [--config FILE]',
  summary:
    'Takes images out of the cache for which all that is given is true; pinned ones stay, and layers that others need.',

  options: {
    'older-than': { type: 'string', value: 'AGE', help: 'in the cache for longer, such as 30d' },
    'not-pulled-for': { type: 'string', value: 'AGE', help: 'not pulled for longer, such as 30d' },
    match: matchOption,
    untagged: { type: 'boolean', help: 'without a tag, and content that is of no image' },
    to: {
      type: 'string',
      value: 'SIZE',
      help: 'least recently pulled first, until the cache holds no more than this, such as 40GiB',
    },
    shared: {
      type: 'boolean',
      default: false,
      help: 'in the object store that replicas share, in the place of the cache of this one',
    },
    'dry-run': { type: 'boolean', default: false, help: 'change nothing: tell what would go' },
    json: jsonOption,
    config: configOption,
  },
  takesArguments: false,

  async run({ values }) {
    const { match, to, untagged } = values
    const given = {
      olderThan: values['older-than'],
      notPulledFor: values['not-pulled-for'],
      match,
      to,
      untagged,
    }
    if (Object.values(given).every((value) => value === undefined)) {
      const message =
        'say what is to go: --older-than, --not-pulled-for, --match, --untagged or --to'
      throw new UsageError([{ path: 'prune', message }])
    }
    const config = await loadConfig(configFile(values.config))
    const dryRun = values['dry-run']
    const answer = values.shared
      ? await pruneShared(config, { ...given, dryRun })
      : ((await withCache(config, async (ask) =>
          ask('POST', '/prune', { ...given, dryRun }),
        )) as PruneAnswer)
    if (values.json) printJson(answer)
    else tell(answer, dryRun)
    return 0
  },
})

function tell({ removed, bytes, left }: PruneAnswer, dryRun: boolean): void {
  for (const { names, digest, bytes: freed } of removed) {
    printLine(`${names.length === 0 ? digest : names.join(', ')} (${roughSize(freed)})`)
  }
  const what = dryRun ? 'would go, which would free' : 'gone, which has freed'
  printLine(
    `${removed.length} ${what} ${roughSize(bytes)} of ${roughSize(left.bytes + (dryRun ? 0 : bytes))}`,
  )
}
