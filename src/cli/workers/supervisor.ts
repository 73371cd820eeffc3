// Several workers as one gateway: starts them, tells them what is told to it, replaces those that die, writes one log.
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { Config } from '../../config/schema.ts'
import { listen } from '../../listener/server.ts'
import { createLog } from '../../log/log.ts'
import { programVersion } from '../../rules/version.ts'
import { serviceManager } from '../service/manager.ts'
import { endingSignal } from '../service/signals.ts'
import { createCrew } from './crew.ts'

/** Runs `config.workers` workers with the config in `file`, until a signal. Returns the exit code. */
export async function supervise(file: string, config: Config): Promise<number> {
  const log = await createLog(config.log)
  const { logger } = log
  logger.info({ version: programVersion(), workers: config.workers }, 'portcullis begins')
  const signal = endingSignal()
  try {
    const port = await freePort(config.listen)
    const crew = createCrew({ file, config, port, logger, onLines: log.take })
    process.on('SIGHUP', crew.reload)
    process.on('exit', crew.kill)
    const manager = serviceManager(logger)
    const early = await Promise.race([crew.begin(), signal, crew.hasFailed])
    if (early === undefined) {
      const facts = { workers: config.workers, port, adminPort: crew.adminPort() }
      logger.info(facts, 'all workers serve')
      manager.ready(
        `${facts.workers} workers on port ${port}, the admin listener on port ${facts.adminPort}`,
      )
    }
    const why = early ?? (await Promise.race([signal, crew.hasFailed]))
    manager.stopping()
    if (typeof why === 'string') logger.info({ signal: why }, 'ending: the workers are told')
    log.flush()
    const code = await crew.end(typeof why === 'string' ? why : 'SIGTERM')
    return typeof why === 'string' ? code : why.code
  } finally {
    log.close()
  }
}

/** One that nobody has: a port that processes share does not say that it is taken. */
async function freePort({ host, port }: Config['listen']): Promise<number> {
  const probe = createServer()
  const free = await listen(probe, host, port)
  probe.close()
  await once(probe, 'close')
  return free
}
