// One worker: what it hears from the supervisor that has started it, and tells it.
import { ownPrefix } from '../../cache/disk/folder.ts'
import type { CrewState } from '../../admin/workers/crew.ts'
import { forOneOf } from '../../config/workers/parts.ts'
import type { Config } from '../../config/schema.ts'
import type { TeamMember } from '../../team.ts'
import { workerVariable, type FromWorker, type ToWorker, type WorkerFacts } from './messages.ts'

export interface Worker {
  member: TeamMember
  /** What of the config is this one's. */
  own: (config: Config) => Config
  /** Resolves to why it is to end: because it is told to, or because nobody is there any more. */
  ended: Promise<NodeJS.Signals>
  onReload: (reload: () => void) => void
  isReady: (ports: { port: number; adminPort: number }) => void
}

/** How often it says that it is not stuck, ms. */
const aliveEvery = 2000

/**
 * What each config that is read means for one worker. It keeps to the ports that all have, however they were
 * written; another port than was written at first is a change like any other, which needs a restart.
 */
export function ownOf({ port, adminPort, sockets }: WorkerFacts): (config: Config) => Config {
  let first: { port: number; adminPort: number } | undefined
  return (config) => {
    const { listen, admin, ...rest } = forOneOf(sockets.length, config)
    first ??= { port: listen.port, adminPort: admin.port }
    return {
      ...rest,
      listen: listen.port === first.port ? { ...listen, port } : listen,
      admin:
        admin.port === first.adminPort && adminPort !== undefined
          ? { ...admin, port: adminPort }
          : admin,
    }
  }
}

/** Which worker this process is; undefined: none, but a gateway of its own. */
export function workerHere(env: NodeJS.ProcessEnv = process.env): Worker | undefined {
  const text = env[workerVariable]
  if (text === undefined || process.send === undefined) return undefined
  // Programs that are started from here are none.
  delete env[workerVariable]
  const facts = JSON.parse(text) as WorkerFacts
  let crew: CrewState | undefined
  let onReload = (): void => undefined
  const ended = new Promise<NodeJS.Signals>((resolve) => {
    process.on('message', (message: ToWorker) => {
      if (message.kind === 'end') resolve(message.signal)
      else if (message.kind === 'crew') crew = message.state
      else onReload()
    })
    process.once('disconnect', () => resolve('SIGTERM'))
    // A terminal and a service manager tell all processes at once: once is enough.
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, resolve)
    process.on('SIGHUP', () => undefined)
  })
  // It is not what keeps this process.
  process.channel?.unref()
  const tell = (message: FromWorker) => {
    // Where the supervisor is gone, that it is gone says all.
    if (process.connected) process.send?.(message, undefined, {}, () => undefined)
  }
  return {
    member: { number: facts.number, sockets: facts.sockets, crew: () => crew },
    own: ownOf(facts),
    ended,
    onReload: (reload) => void (onReload = reload),
    isReady(ports) {
      tell({ kind: 'ready', ...ports, prefix: ownPrefix })
      setInterval(() => tell({ kind: 'alive' }), aliveEvery).unref()
    },
  }
}
