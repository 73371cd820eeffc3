// `portcullis serve`: the gateway, until a signal ends it.
import { resolve } from 'node:path'
import { loadConfig } from '../config/load.ts'
import { createLog } from '../log/log.ts'
import { programVersion } from '../rules/version.ts'
import { defineCommand } from './command.ts'
import { configFile, configOption } from './options.ts'
import { serviceManager } from './service/manager.ts'
import { endingSignal } from './service/signals.ts'
import { workerHere } from './workers/worker.ts'

/** What is open still when all is done keeps the process no longer than this, ms. */
const lastMs = 1000

export const command = defineCommand({
  usage: 'serve [--config FILE]',
  summary: 'Runs the gateway until SIGTERM, which lets running transfers end.',

  options: { config: configOption },
  takesArguments: false,

  async run({ values }) {
    const file = configFile(values.config)
    const worker = workerHere()
    const load = async () => {
      const config = await loadConfig(file)
      return worker === undefined ? config : worker.own(config)
    }
    const config = await load()
    if (worker === undefined && config.workers > 1) {
      const { supervise } = await import('./workers/supervisor.ts')
      return supervise(file, config)
    }
    const log = await createLog(config.log)
    log.logger.info({ version: programVersion(), node: process.version }, 'portcullis begins')
    // From here on no signal kills the start half-way; files that change meanwhile are noticed anyhow.
    const toEnd = worker?.ended ?? endingSignal()
    const manager = serviceManager(log.logger)
    const reload = { now: () => {} }
    if (worker === undefined) process.on('SIGHUP', () => reload.now())
    else worker.onReload(() => reload.now())
    try {
      const { startGateway } = await import('../app.ts')
      const gateway = await startGateway(config, {
        log: log.logger,
        source: { file: resolve(file), load },
        member: worker?.member,
      })
      reload.now = () => void gateway.reload()
      const { port, adminPort } = gateway
      log.logger.info({ port, adminPort, host: config.listen.host, config: file }, 'listening')
      log.flush()
      worker?.isReady(gateway)
      manager.ready(`serves on port ${port}, the admin listener on port ${adminPort}`)
      const signal = await toEnd
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
