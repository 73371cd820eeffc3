// Real upstream clients for tests, and what comes of asking them.
import type { OpenedPkcs12 } from '../../src/upstream/tls.ts'
import type { Test } from 'tap'
import type { Config, UpstreamConfig } from '../../src/config/schema.ts'
import type { GatewayError } from '../../src/errors.ts'
import type { Flow, OpenUpstream, OriginRequest, OriginResponse } from '../../src/oci/origin.ts'
import type { AttemptSample } from '../../src/upstream/failure-log.ts'
import { createUpstreams, type Upstreams } from '../../src/upstream/upstreams.ts'
import { recordingLog } from './listener.ts'

export interface Overrides extends Partial<Omit<UpstreamConfig, 'tls' | 'auth'>> {
  url: string
  tls?: Partial<UpstreamConfig['tls']>
  auth?: Partial<UpstreamConfig['auth']>
}

export function upstreamConfig({ tls, auth, ...others }: Overrides): UpstreamConfig {
  return {
    tls: { verify: true, ...tls },
    auth: { realms: [], fallback: 'anonymous', ...auth },
    tagTtl: 300_000,
    staleIfError: 86_400_000,
    staleIfDenied: 86_400_000,
    gateway: false,
    endpoints: [],
    quotaFloor: 10,
    offline: false,
    onUpstreamDelete: 'keep',
    negativeTtl: 0,
    redirects: [],
    foreignLayers: 'refuse',
    caseSensitive: false,
    prefetch: 'none',
    connectTimeout: 2000,
    headersTimeout: 2000,
    stallTimeout: 2000,
    ...others,
  }
}

export interface RunningUpstreams extends Upstreams {
  lines: Record<string, unknown>[]
  attempts: AttemptSample[]
  /** Answers that were reported as of no use. */
  badAnswers: [upstream: string, reason: string][]
  insecure: readonly string[]
  /** Moves the clock that they see. */
  forward(ms: number): void
}

/** One upstream called `up`; closed with the test. */
export function startUpstreams(
  t: Pick<Test, 'teardown'>,
  overrides: Overrides,
  identities?: OpenedPkcs12,
): RunningUpstreams {
  return startAll(t, { up: upstreamConfig(overrides) }, identities)
}

function startAll(
  t: Pick<Test, 'teardown'>,
  upstreams: Config['upstreams'],
  identities?: OpenedPkcs12,
): RunningUpstreams {
  const { log, lines } = recordingLog()
  const attempts: AttemptSample[] = []
  const badAnswers: [upstream: string, reason: string][] = []
  let insecure: readonly string[] = []
  let ahead = 0
  const client = createUpstreams({
    upstreams,
    ...(identities === undefined ? {} : { identities }),
    log,
    metrics: {
      attempt: (sample) => attempts.push(sample),
      badAnswer: (...told) => badAnswers.push(told),
      insecureUpstreams: (names) => {
        insecure = names
      },
    },
    now: () => Date.now() + ahead,
  })
  client.announce()
  t.teardown(() => client.close())
  return {
    ...client,
    lines,
    attempts,
    badAnswers,
    insecure,
    forward: (ms) => {
      ahead += ms
    },
  }
}

export interface Told {
  response: OriginResponse | undefined
  body: Buffer
  chunks: number
  error: GatewayError | undefined
  /** What was told, in order: `start`, `data` (once), `end`, `fail`. */
  order: string[]
}

/** Asks and waits for the end. `onFlow` gets the flow at once. */
export function ask(
  open: OpenUpstream,
  request: Partial<OriginRequest>,
  onFlow?: (flow: Flow) => void,
): Promise<Told> {
  const { promise, resolve } = Promise.withResolvers<Told>()
  const chunks: Buffer[] = []
  const order: string[] = []
  let response: OriginResponse | undefined
  const finish = (error?: GatewayError) =>
    resolve({ response, body: Buffer.concat(chunks), chunks: chunks.length, error, order })
  const flow = open(
    { upstream: 'up', method: 'GET', repository: 'app', resource: 'manifests/latest', ...request },
    {
      start(given) {
        order.push('start')
        response = given
      },
      data(chunk) {
        if (order.at(-1) !== 'data') order.push('data')
        chunks.push(Buffer.from(chunk))
      },
      end() {
        order.push('end')
        finish()
      },
      fail(error) {
        order.push('fail')
        finish(error)
      },
    },
  )
  onFlow?.(flow)
  return promise
}
