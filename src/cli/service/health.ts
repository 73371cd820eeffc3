// `portcullis health`: does the gateway of this machine serve pulls? For the health checks of containers.
import { loadConfig } from '../../config/load.ts'
import { defineCommand } from '../command.ts'
import { configFile, configOption } from '../options.ts'
import { printLine } from '../output/print.ts'
import { askReadiness, readinessLines } from './readiness.ts'

export const command = defineCommand({
  usage: 'health [--config FILE]',
  summary: 'Says whether the gateway on this machine serves pulls; exit code 1 if not.',
  options: { config: configOption },
  takesArguments: false,

  async run({ values }) {
    const { cache } = await loadConfig(configFile(values.config))
    const told = await askReadiness(cache.dir)
    for (const line of typeof told === 'string' ? [told] : readinessLines(told)) printLine(line)
    return typeof told !== 'string' && told.status === 'ready' ? 0 : 1
  },
})
