// What the gateway is doing, over HTTP: upstreams, shelf, certificates, sessions, and what changes it.
import type { FastifyInstance } from 'fastify'
import type { Logger } from 'pino'
import type { Static } from 'typebox'
import type { Expiry } from '../../rules/expiry.ts'
import { programVersion } from '../../rules/version.ts'
import type { KeptCache } from '../../cache/open-cache.ts'
import type { Readiness } from '../readiness.ts'
import type { Recent } from '../status/recent.ts'
import { tellingOf, together, type Told, type ToldOptions } from '../status/told.ts'
import type { Traffic } from '../status/traffic.ts'
import {
  certificateView,
  happeningView,
  holdingView,
  shelfView,
  isoTime,
  upstreamView,
  type ReloadFacts,
  type ShelvedImage,
} from '../status/views.ts'
import type { UpstreamReport } from '../upstream-metrics.ts'
import { createEventStream, type Topics } from './event-stream.ts'
import { sendProblem } from './problem.ts'
import { LogBody } from './requests.ts'

export interface GatewayApiOptions extends ToldOptions {
  upstreams: () => readonly UpstreamReport[]
  shelf: () => readonly ShelvedImage[]
  /** When what is in use ends. */
  expiries: () => readonly Expiry[]
  reloads: Recent<ReloadFacts>
  cache: Pick<KeptCache, 'downloads' | 'condition'>
  health: () => Promise<Readiness>
  traffic: Traffic
  /** What decides who may look. */
  inForce: () => unknown
  /** Resolves to whether everything was taken into use. */
  reload: () => Promise<boolean>
  /** What the other processes of the gateway tell; there are none, when absent. */
  toldElsewhere?: (() => Promise<Told[]>) | undefined
  /** The log has another level from now on. */
  onLevel?: ((level: string) => Promise<void>) | undefined
  log: Logger
}

/** A Fastify plugin, as part of `adminApi`. */
export async function gatewayApi(api: FastifyInstance, options: GatewayApiOptions): Promise<void> {
  const { log, reloads } = options
  const stream = createEventStream({ topics: topicsOf(options), inForce: options.inForce, log })
  api.addHook('onClose', async () => stream.close())
  api.get('/events', async (_request, reply) => stream.open(reply))
  for (const [name, view] of Object.entries(gatewayViews(options))) {
    api.get(`/${name}`, async () => ({ [name]: await view() }))
  }

  api.post('/reload', async (_request, reply) => {
    if (await options.reload()) return { reloaded: true }
    const [last] = reloads.all()
    const problems = last?.result === 'refused' ? last.problems : []
    const detail = `what was in use stays in use: ${problems.join('; ') || 'see the log'}`
    return sendProblem(reply, 409, detail)
  })

  api.get('/log', async () => ({ level: log.level }))

  api.post<{ Body: Static<typeof LogBody> }>(
    '/log',
    { schema: { body: LogBody } },
    async ({ body: { level } }) => {
      log.level = level
      await options.onLevel?.(level)
      log.info({ level }, 'the log level is another until it changes in the config')
      return { level }
    },
  )
}

/** What there is to see, by the name of its endpoint, of its key there, and of its event. */
function gatewayViews(options: GatewayApiOptions) {
  const { upstreams, expiries, reloads } = options
  const told = tellAll(options)
  return {
    upstreams: () => {
      const inUse = expiries()
      return upstreams().map((report) => upstreamView(report, inUse))
    },
    certificates: () =>
      expiries()
        .toSorted((a, b) => a.expiresAt - b.expiresAt)
        .map((expiry) => certificateView(expiry)),
    sessions: async () => (await told('sessions')).slice(0, 1000),
    reloads: () => reloads.all().map(happeningView),
    refusals: async () => told('refusals'),
    evictions: async () => told('evictions'),
  }
}

/** What all processes of the gateway tell. */
function tellAll(options: GatewayApiOptions) {
  const own = tellingOf(options)
  return async <Name extends keyof Told>(name: Name): Promise<Told[Name]> => {
    const elsewhere = (await options.toldElsewhere?.()) ?? []
    return together[name]([own(), ...elsewhere].map((told) => told[name]))
  }
}

/** All that the status page shows, but for what may be long. */
function topicsOf(options: GatewayApiOptions): Topics {
  const { cache, health, shelf, traffic } = options
  const told = tellAll(options)
  const started = isoTime(Date.now())
  const version = programVersion()
  return {
    gateway: () => ({ version, started }),
    health,
    downloads: async () => told('downloads'),
    holding: async () => holdingView(await cache.condition()),
    shelf: () => shelfView(shelf()),
    ...gatewayViews(options),
    traffic: () => traffic.samples(),
  }
}
