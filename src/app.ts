// The gateway, wired: read it from top to bottom as a request flows. The only place that knows every folder.
import type { RequestListener } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import { openTraces } from './log/traces.ts'
import { newPseudonym } from './oci/via.ts'
import { openControl, type ControlSocket } from './admin/control-socket.ts'
import { createMetrics } from './admin/metrics.ts'
import { formatReference } from './admin/status/views.ts'
import type { Cache } from './cache/cache.ts'
import { openCache, type KeptCache } from './cache/open-cache.ts'
import type { Config } from './config/schema.ts'
import { drain } from './listener/drain.ts'
import { watchExpiry } from './listener/expiry.ts'
import { certificateInUse } from './listener/reload-tls.ts'
import type { Reloader } from './listener/reload.ts'
import { listen } from './listener/server.ts'
import { listenerUrls } from './listener/urls.ts'
import { prepareLive, type Reporting } from './live.ts'
import { createMemories, noting, notingReloads, wireAdmin, type Memories } from './oversight.ts'
import { openAuditLog } from './log/log.ts'
import { followFiles, type Current } from './renewal.ts'
import { limitsOf, wireRegistry } from './serving.ts'
import { joinTeam, type Team, type TeamMember } from './team.ts'
import { startImport } from './transfer/at-start.ts'
import { createBackground, type Background } from './transfer/background.ts'
import { openSharedStore } from './transfer/shared/store.ts'
import { createFairQueue } from './upstream/fair-queue.ts'
import { openIdentities } from './upstream/endpoints/files.ts'
import { createPacer } from './upstream/pace/pacer.ts'

export interface Gateway {
  /** Ports that are listened on. */
  port: number
  adminPort: number
  /** Reads everything anew, as for SIGHUP. Resolves to whether it was taken into use. */
  reload: () => Promise<boolean>
  /**
   * Takes no more connections, lets transfers end for `graceMs` milliseconds at most, and lets go of
   * everything. Unless told it is `listen.grace`, after `listen.leaveDelay` of not being ready.
   * Resolves to the number of transfers that were cut.
   */
  close: (graceMs?: number) => Promise<number>
}

export interface GatewayOptions {
  log: Logger
  /** Where the config comes from: watched, and read again when it changes. */
  source?: { file: string; load: () => Promise<Config> }
  /** Which process of the gateway this is, where it is not all of it. */
  member?: TeamMember | undefined
}

/** Throws UsageError where the config, or a file or folder that it names, cannot be used. */
export async function startGateway(
  config: Config,
  { log, source, member }: GatewayOptions,
): Promise<Gateway> {
  const metrics = createMetrics()
  const recent = createMemories()
  const audit = noting(openAuditLog(config.audit, log), recent.refusals)
  let isLeaving = false
  let listening: { host: string; port: number } | undefined
  const reporting = { log, metrics, audit, pseudonym: newPseudonym(), own: () => listening }
  const team = joinTeam(member, config.cache.dir, reporting.pseudonym)
  const { current, cache, letGoOfBoth } = await openBoth(config, reporting, recent.evictions, team)
  await using undo = letGoOfBoth
  const traces = await openTraces(config)
  const { dir } = config.cache
  const background = createBackground({ cache, dir, config: () => current.live.config, log })
  let imports: ReturnType<typeof startImport> | undefined
  const urls = { gateway: [] as string[], admin: [] as string[] }
  const { lookElsewhere } = team
  const wiring = { ...reporting, current, cache, background, recent, traces, lookElsewhere }
  const { registry, forWorkers } = wireRegistry(config, { ...wiring, origins: () => urls.admin })
  let renewal: Reloader | undefined
  const reload = async () => (await renewal?.reload()) ?? false
  const { admin, expiries, telling } = wireAdmin(config, {
    ...wiring,
    registry,
    urls,
    upstreams: () => statusOfAll(current, cache),
    limits: limitsOf(current),
    problems: () => [
      ...(isLeaving ? ['the gateway is ending'] : []),
      ...(imports?.problems() ?? []),
    ],
    reload,
    others: team.others,
  })
  let control: ControlSocket | undefined
  const letGo = async (graceMs: number) =>
    endInOrder({ ...wiring, registry, admin, others: [control, team, imports, traces] }, graceMs)
  // From here on `letGo` does it.
  undo.move()

  try {
    await Promise.all([registry.ready(), admin.ready()])
    current.live.begin()
    if (team.leads) imports = startImport(config, log)
    await team.listen(forWorkers, { registry: metrics.registry, reload, log, telling })
    const { host, port: wanted } = config.listen
    const port = await listen(registry.server, host, wanted, 'listen', member !== undefined)
    listening = { host, port }
    const led = team.leads ? await lead(config, { admin, cache, log }) : undefined
    control = led?.control
    const adminPort = led?.port ?? config.admin.port
    const onTaken = () => {
      urls.gateway = listenerUrls(config.listen.host, certificateInUse(registry.server), port)
      urls.admin = listenerUrls(config.admin.host, certificateInUse(admin.server), adminPort)
      if (team.leads) background.follow()
    }
    onTaken()
    const onResult = notingReloads(metrics.reload, recent.reloads)
    const servers = [registry.server, admin.server]
    renewal = followFiles({ current, servers, source, ...reporting, onTaken, onResult })
    metrics.expiries(expiries)
    const forgetExpiry = team.leads ? watchExpiry(expiries, log) : () => undefined
    return {
      port,
      adminPort,
      reload,
      async close(graceMs) {
        const { grace, leaveDelay } = current.live.config.listen
        isLeaving = true
        if (graceMs === undefined) await setTimeout(leaveDelay)
        renewal?.close()
        forgetExpiry()
        return letGo(graceMs ?? grace)
      },
    }
  } catch (error) {
    await letGo(0)
    throw error
  }
}

/** What one process does for all: it answers operators, and has what is stored looked at. */
async function lead(
  config: Config,
  { admin, cache, log }: { admin: FastifyInstance; cache: KeptCache; log: Logger },
): Promise<{ port: number; control: ControlSocket | undefined }> {
  const { dir, verifyEvery, verifyRate } = config.cache
  const port = await listen(admin.server, config.admin.host, config.admin.port, 'admin')
  const handler: RequestListener = (...asked) => admin.routing(...asked)
  const control = await openControl(dir, { handler, log })
  cache.verification.schedule({ every: verifyEvery, rate: verifyRate })
  return { port, control }
}

/** What is in use at first, and the cache; and what lets go of both. */
async function openBoth(
  config: Config,
  reporting: Reporting,
  evictions: Memories['evictions'],
  team: Team,
) {
  await using undo = new AsyncDisposableStack()
  undo.defer(reporting.audit.close)
  const started = Date.now()
  const identities = await openIdentities(config.upstreams)
  const current = { live: prepareLive(config, identities, reporting), started }
  undo.defer(current.live.close)
  const cache = await openGatewayCache(config, current, reporting, evictions, team)
  undo.defer(cache.close)
  return { current, cache, letGoOfBoth: undo.move() }
}

/** The cache, and how it asks upstreams for what it lacks: in turns, at a pace, by the client in use. */
async function openGatewayCache(
  config: Config,
  current: Current,
  { log, metrics }: Reporting,
  evictions: Memories['evictions'],
  team: Team,
): Promise<KeptCache> {
  const inTurns = createFairQueue({
    openUpstream: createPacer({
      openUpstream: (request, receiver) => current.live.upstreams.open(request, receiver),
      maxRateOf: (upstream) => current.live.config.upstreams[upstream]?.maxRate,
      onBytes: metrics.received,
    }),
    limits: limitsOf(current),
    onRefusal: metrics.refusedCaller,
  })
  const cache = openCache({
    ...config.cache,
    remote: await openSharedStore(config, log),
    isKeeper: team.leads,
    openUpstream: team.before(inTurns),
    freshnessOf: (upstream) => current.live.config.upstreams[upstream] ?? unknownUpstream,
    offline: (upstream) => isOffline(current.live.config, upstream),
    isQuotaShort: (upstream) => current.live.upstreams.isQuotaShort(upstream),
    report: (...told) => current.live.upstreams.report(...told),
    log,
    metrics: {
      ...metrics,
      evicted(bytes, names) {
        metrics.evicted(bytes)
        evictions.note({ bytes, images: names.map(formatReference) })
      },
    },
  })
  metrics.condition(cache.condition)
  if (cache.sharedWaiting !== undefined) metrics.sharedWaiting(cache.sharedWaiting)
  metrics.verification(cache.verification.state)
  metrics.upstreams(() => statusOfAll(current, cache))
  return cache
}

/** An upstream that a reload took away, while something of it is under way. */
const unknownUpstream = { tagTtl: 0, staleIfError: 0 }

/** How every upstream fares: what its client knows, and whether the cache lets it rest. */
function statusOfAll({ live }: Current, { circuit }: Cache) {
  return live.upstreams.status().map((status) => ({
    ...status,
    offline: isOffline(live.config, status.upstream),
    circuit: circuit(status.upstream),
  }))
}

function isOffline({ offline, upstreams }: Config, upstream: string): boolean {
  return offline || upstreams[upstream]?.offline === true
}

interface Ending extends Pick<Reporting, 'audit'> {
  registry: FastifyInstance
  admin: FastifyInstance
  others: readonly ({ close: () => Promise<void> } | undefined)[]
  background: Background
  cache: KeptCache
  current: Current
}

/** What was begun last ends first. Resolves to the number of transfers that were cut. */
async function endInOrder(
  { registry, admin, others, background, cache, current, audit }: Ending,
  graceMs: number,
): Promise<number> {
  const cut = await drain(registry.server, graceMs)
  await drain(admin.server, 0)
  await Promise.all([registry.close(), admin.close(), ...others.map(async (one) => one?.close())])
  await background.stop()
  await cache.close()
  // What nobody waits for any more may take an upstream's time limits to end.
  await Promise.race([current.live.close(), setTimeout(lastMs, undefined, { ref: false })])
  audit.close()
  return cut
}

/** How long the end waits for connections to upstreams, ms. */
const lastMs = 2000
