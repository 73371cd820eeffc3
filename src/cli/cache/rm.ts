// `portcullis rm`: takes images out of the cache.
import { loadConfig } from '../../config/load.ts'
import { roughSize } from '../../config/units.ts'
import { messageOf, UsageError } from '../../errors.ts'
import { defineCommand } from '../command.ts'
import { configFile, configOption, jsonOption } from '../options.ts'
import { printJson, printLine, printNote } from '../output/print.ts'
import { RequestFailure, withCache, type Ask } from './asking.ts'

export const command = defineCommand({
  usage: 'rm IMAGE ... [--force] [--json] [--config FILE]',
  summary: 'Takes images out of the cache; layers that others need stay.',

  options: {
    force: { type: 'boolean', default: false, help: 'though it is pinned' },
    json: jsonOption,
    config: configOption,
  },
  takesArguments: true,

  async run({ values, positionals }) {
    if (positionals.length === 0) {
      throw new UsageError([{ path: 'IMAGE', message: 'is missing: name images' }])
    }
    const config = await loadConfig(configFile(values.config))
    const { removed, failed } = await withCache(config, async (ask) =>
      removeAll(ask, positionals, values.force),
    )
    if (values.json) printJson({ removed, failed })
    else for (const { image, bytes } of removed) printLine(`${image} (${roughSize(bytes)} free)`)
    if (!values.json) for (const { message } of failed) printNote(`failed: ${message}`)
    return failed.length === 0 ? 0 : 1
  },
})

async function removeAll(ask: Ask, images: readonly string[], force: boolean) {
  const removed: { image: string; bytes: number }[] = []
  const failed: { image: string; message: string }[] = []
  for (const image of images) {
    try {
      removed.push((await ask('POST', '/evict', { image, force })) as (typeof removed)[number])
    } catch (error) {
      if (!(error instanceof RequestFailure)) throw error
      failed.push({ image, message: reasonOf(image, error) })
    }
  }
  return { removed, failed }
}

function reasonOf(image: string, error: RequestFailure): string {
  const { pinnedBy } = error.problem
  if (!Array.isArray(pinnedBy)) return messageOf(error)
  const remedy = pinnedBy.includes('shelf') ? 'take it off the shelf' : 'unpin it'
  return `${image} is pinned by ${pinnedBy.join(' and ')}: ${remedy} first, or say --force`
}
