// `portcullis serve`: the gateway, until a signal ends it.
import { resolve } from 'node:path'
import { startGateway } from '../app.ts'
import { loadConfig } from '../config/load.ts'
import { createLog } from '../log/log.ts'
import { programVersion } from '../rules/version.ts'
import { defineCommand } from './command.ts'
import { configFile, configOption } from './options.ts'
import { serviceManager } from './service/manager.ts'

/** What is open still when all is done keeps the process no longer than this, ms. */
const lastMs = 1000

export const command = defineCommand({
  usage: 'serve [--config FILE]',
  summary: 'Runs the gateway until SIGTERM, which lets running transfers end.',

  options: { config: configOption },
  takesArguments: false,

  async run({ values }) {
    const file = configFile(values.config)
    const config = await loadConfig(file)
    const log = await createLog(config.log)
    log.logger.info({ version: programVersion(), node: process.version }, 'portcullis begins')
    // From here on no signal kills the start half-way; files that change meanwhile are noticed anyhow.
    const firstSignal = endingSignal()
    const manager = serviceManager(log.logger)
    const reload = { now: () => {} }
    process.on('SIGHUP', () => reload.now())
    try {
      const gateway = await startGateway(config, {
        log: log.logger,
        source: { file: resolve(file), load: () => loadConfig(file) },
      })
      reload.now = () => void gateway.reload()
      const { port, adminPort } = gateway
      log.logger.info({ port, adminPort, host: config.listen.host, config: file }, 'listening')
      log.flush()
      manager.ready(`serves on port ${port}, the admin listener on port ${adminPort}`)
      const signal = await firstSignal
      manager.stopping()
      log.logger.info({ signal }, 'ending: running transfers may go on for a while')
      log.flush()
      const cut = await gateway.close()
      if (cut === 0) log.logger.info('ended')
      else log.logger.warn({ cut }, 'ended: transfers were cut, because listen.grace was over')
      const code = cut === 0 ? 0 : 1
      setTimeout(() => process.exit(code), lastMs).unref()
      return code
    } finally {
      log.close()
    }
  },
})

/** The second one does not wait. */
async function endingSignal(): Promise<NodeJS.Signals> {
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    process.once('SIGTERM', resolve)
    process.once('SIGINT', resolve)
  })
  for (const again of ['SIGTERM', 'SIGINT'] as const) process.once(again, () => process.exit(1))
  return signal
}
