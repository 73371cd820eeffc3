// `portcullis pin` and `unpin`: keeps images whatever happens, or not any more.
import { loadConfig } from '../../config/load.ts'
import { UsageError } from '../../errors.ts'
import { defineCommand } from '../command.ts'
import { configFile, configOption, jsonOption } from '../options.ts'
import { printJson, printLine } from '../output/print.ts'
import { withCache } from './asking.ts'

export const pin = commandOf('pin', true, 'Keeps images in the cache, whatever needs room.')
export const unpin = commandOf('unpin', false, 'Lets images go again that were pinned.')

function commandOf(name: string, pinned: boolean, summary: string) {
  return defineCommand({
    usage: `${name} IMAGE ... [--json] [--config FILE]`,
    summary,
    options: { json: jsonOption, config: configOption },
    takesArguments: true,

    async run({ values, positionals }) {
      if (positionals.length === 0) {
        throw new UsageError([{ path: 'IMAGE', message: 'is missing: name images' }])
      }
      const config = await loadConfig(configFile(values.config))
      const done = await withCache(config, async (ask) => {
        const answers = []
        for (const image of positionals) answers.push(await ask('POST', '/pin', { image, pinned }))
        return answers as { image: string }[]
      })
      if (values.json) printJson(done)
      else for (const { image } of done) printLine(`${image} ${name}ned`)
      return 0
    },
  })
}
