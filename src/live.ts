// What a reload replaces, made from one config: choice of upstream, access, tokens, upstream client.
import type { Logger } from 'pino'
import type { Metrics } from './admin/metrics.ts'
import type { Config } from './config/schema.ts'
import { createChoosers } from './config/upstream-names.ts'
import { UsageError, type Problem } from './errors.ts'
import type { Access } from './registry/access.ts'
import type { AuditLog } from './log/log.ts'
import { createAuthorization, type Authorization } from './registry/authorization.ts'
import type { Chooser } from './registry/target.ts'
import type { TokenRoutes } from './registry/token/routes.ts'
import type { openIdentities } from './upstream/endpoints/files.ts'
import { createUpstreams, type Upstreams } from './upstream/upstreams.ts'

/** Connections, downloads and the cache are not among it: they outlive a reload. */
export interface Live {
  config: Config
  choose: Chooser
  access: Access
  tokens: TokenRoutes | undefined
  onTagPull: Authorization['onTagPull']
  upstreams: Upstreams
  /**
   * Does what only the one in use may do: makes and replaces token keys, logs and meters what should
   * not be left so. Throws UsageError, and has changed nothing then.
   */
  begin: () => void
  /** Lets go once what is under way has ended. */
  close: () => Promise<void>
}

export interface Reporting {
  log: Logger
  metrics: Metrics
  audit: AuditLog
  /** What this gateway calls itself to others. */
  pseudonym: string
  /** Where it listens; undefined until it does. */
  own: () => { host: string; port: number } | undefined
}

/**
 * Reads and checks what `config` names, and changes nothing; `identities` is of `openIdentities`.
 * Throws UsageError with every problem.
 */
export function prepareLive(
  config: Config,
  identities: Awaited<ReturnType<typeof openIdentities>>,
  { log, metrics, audit, pseudonym, own }: Reporting,
): Live {
  const choose: Chooser = createChoosers(config)
  const problems: Problem[] = []
  const authorization = attempt(problems, () =>
    createAuthorization(config, {
      choose,
      log,
      audit: audit.write,
      onRefusal: metrics.refusedCaller,
    }),
  )
  const upstreams = attempt(problems, () =>
    createUpstreams({
      upstreams: config.upstreams,
      replicas: { config: config.replicas, own },
      identities,
      log,
      metrics,
      pseudonym,
    }),
  )
  const close = async () => {
    await Promise.all([upstreams?.close(), authorization?.close()])
  }
  if (authorization === undefined || upstreams === undefined) {
    void close()
    throw new UsageError(problems)
  }
  const { access, tokens, onTagPull } = authorization
  return {
    config,
    choose,
    access,
    tokens,
    onTagPull,
    upstreams,
    begin() {
      const opened = audit.prepare(config.audit)
      authorization.start()
      upstreams.announce()
      opened.swap()
    },
    close,
  }
}

function attempt<Value>(problems: Problem[], make: () => Value): Value | undefined {
  try {
    return make()
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    problems.push(...error.problems)
    return undefined
  }
}
