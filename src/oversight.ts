// What an operator sees of the running gateway and may do with it: the admin listener, wired.
import type { FastifyInstance } from 'fastify'
import type { GatewayApiOptions } from './admin/api/gateway-api.ts'
import { createReadiness } from './admin/readiness.ts'
import type { Others } from './admin/workers/between.ts'
import { crewWarnings } from './admin/workers/crew.ts'
import { createSum } from './admin/workers/sum.ts'
import { createAdmin } from './admin/server.ts'
import { createRecent } from './admin/status/recent.ts'
import { tellingOf } from './admin/status/told.ts'
import { createTraffic } from './admin/status/traffic.ts'
import type { Eviction, ReloadFacts } from './admin/status/views.ts'
import type { KeptCache } from './cache/open-cache.ts'
import type { Config, ListenLimits } from './config/schema.ts'
import type { ReloadResult } from './listener/reload.ts'
import { expiriesInUse } from './listener/reload-tls.ts'
import type { ListenerServer } from './listener/server.ts'
import type { Reporting } from './live.ts'
import type { AuditLog } from './log/log.ts'
import type { Current } from './renewal.ts'
import type { Background } from './transfer/background.ts'
import { namingOf, parseReference } from './transfer/image-name.ts'

/** What the admin API tells of what happened. */
export function createMemories() {
  const refusals = createRecent<Readonly<Record<string, unknown>>>()
  return {
    reloads: createRecent<ReloadFacts>(),
    refusals,
    evictions: createRecent<Eviction>(),
    /** Of who is refused by the handshake no audit line says anything. */
    onConnectionRefused: (reason: string, client: string) =>
      refusals.note({ client, who: 'unknown', how: 'handshake', action: 'connect', reason }),
  }
}

export type Memories = ReturnType<typeof createMemories>

/** `audit`, of which the refusals are remembered. */
export function noting({ write, ...audit }: AuditLog, refusals: Memories['refusals']): AuditLog {
  return {
    ...audit,
    write({ audit: what, ...facts }) {
      write({ audit: what, ...facts })
      if (what === 'refused') refusals.note(facts)
    },
  }
}

/** `report`, of which what it hears is remembered. */
export function notingReloads(
  report: (result: ReloadResult) => void,
  reloads: Memories['reloads'],
): (result: ReloadResult) => void {
  return (result) => {
    const { part, problems } = result
    report(result)
    reloads.note({
      part,
      result: result.result,
      problems: problems.map(({ path, message }) => `${path}: ${message}`),
    })
  }
}

/** The admin server, not listening yet, and what else it comes with. */
export function wireAdmin(
  config: Config,
  {
    current,
    cache,
    background,
    log,
    metrics,
    registry,
    audit,
    urls,
    recent,
    upstreams,
    limits,
    problems,
    reload,
    others,
  }: Omit<Reporting, 'pseudonym' | 'own'> & {
    current: Current
    cache: KeptCache
    background: Background
    registry: FastifyInstance
    urls: { gateway: readonly string[] }
    recent: Memories
    upstreams: GatewayApiOptions['upstreams']
    limits: () => ListenLimits
    /** Why pulls cannot be served, or are not to be. */
    problems: () => readonly string[]
    /** Of this process alone. */
    reload: () => Promise<boolean>
    /** The other processes of the gateway. */
    others: Others | undefined
  },
) {
  const readiness = createReadiness()
  const health = async () => {
    const crew = others?.crew()
    return readiness(current.live.config, registry, {
      problems: problems(),
      warnings: [...(crew === undefined ? [] : crewWarnings(crew)), ...(await cache.problems())],
      upstreams: current.live.upstreams.expiries,
    })
  }
  metrics.shelf(background.shelf)
  metrics.crew(() => others?.crew())
  const counted = others && createSum(metrics.registry, others.counted)
  const traffic = createTraffic(counted ?? (async () => metrics.registry))
  const servers = (): ListenerServer[] => [registry.server, admin.server]
  const expiries = () => [...servers().flatMap(expiriesInUse), ...current.live.upstreams.expiries]
  const admin: FastifyInstance = createAdmin({
    config: config.admin,
    names: () => current.live.config.admin.names,
    metrics,
    log,
    limits,
    gatewayUrls: () => urls.gateway,
    api: {
      cache,
      shelf: background.shelf,
      parseImage: (text) => parseReference(text, namingOf(current.live.config)),
      gateway: {
        ...recent,
        upstreams,
        expiries,
        servers,
        cache,
        health,
        traffic,
        inForce: () => current.live,
        reload: async () =>
          (await Promise.all([reload(), others?.reload() ?? true])).every(Boolean),
        toldElsewhere: others?.told,
        onLevel: others?.setLevel,
      },
    },
    counted,
    audit: audit.write,
    mayAdminister: (...asked) => current.live.access.mayAdminister(...asked),
    readiness: health,
  })
  admin.addHook('onClose', async () => traffic.close())
  return { admin, expiries, telling: tellingOf({ ...recent, cache, servers }) }
}
