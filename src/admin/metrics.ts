// What the gateway counts. Counters are plain numbers that are turned into series only when
// somebody asks (15 ns each, where a labelled counter of prom-client takes 250).
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { VerificationState } from '../cache/verification/verification.ts'
import type { Expiry } from '../rules/expiry.ts'
import { programVersion } from '../rules/version.ts'
import type { ReloadResult } from '../listener/reload.ts'
import { createVerificationMetrics } from './verification-metrics.ts'
import type { AttemptSample } from '../upstream/failure-log.ts'
import { cacheMetrics, type CachePart } from './cache-metrics.ts'
import { sharedMetrics, type SharedPart } from './shared-metrics.ts'
import { shelfMetrics, type ShelfPart } from './shelf-metrics.ts'
import { memoize, tally } from './tally.ts'
import { crewMetrics, type CrewPart } from './workers/crew-metrics.ts'
import { upstreamMetrics, type UpstreamPart } from './upstream-metrics.ts'

/** One request that is over. */
export interface CountedRequest {
  kind: 'manifest' | 'blob' | 'tags' | 'referrers' | 'catalog' | 'base' | 'other'
  status: number
  source: 'memory' | 'disk' | 'fill' | 'upstream' | 'none'
  /** Bytes of body sent. */
  bytes: number
  /** From the request's headers to the last byte. */
  seconds: number
  /** From the request's headers to the first byte of the answer; absent if there was none. */
  firstByteSeconds?: number
}

/** Every function may be passed on its own. */
export interface Metrics extends CachePart, CrewPart, SharedPart, ShelfPart, UpstreamPart {
  registry: Registry
  request: (sample: CountedRequest) => void
  /** So many more or fewer bytes of blobs are left to be sent to clients. */
  inFlight: (change: number) => void
  attempt: (sample: AttemptSample) => void
  /** Bytes of content arrived from an upstream. */
  received: (upstream: string, bytes: number) => void
  /** What an upstream sent as content is of no use; the attempt itself went well. */
  badAnswer: (upstream: string, reason: string) => void
  /** A TLS handshake of a client went well. */
  handshake: () => void
  handshakeFailure: (reason: string) => void
  refusedCaller: (reason: string) => void
  /** The upstreams whose certificate is not checked; replaces what was told before. */
  insecureUpstreams: (names: readonly string[]) => void
  reload: (result: ReloadResult) => void
  /** Asked at each scrape how far the verification of what is stored is. */
  verification: (state: () => VerificationState) => void
  /** Asked at each scrape for the certificates and revocation lists in use. */
  expiries: (inUse: () => readonly Expiry[]) => void
}

const requestBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5]
const transferBuckets = [1, 2.5, 5, 10, 30, 60, 300]
const durationBuckets = [...requestBuckets, ...transferBuckets]

/** A set of metrics of its own, with those of the process (`process_*`, `nodejs_*`). */
export function createMetrics(): Metrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  new Gauge({
    name: 'portcullis_build_info',
    help: 'Always 1: which version of the gateway runs, on which Node.',
    labelNames: ['version', 'node'],
    aggregator: 'first',
    registers: [registry],
  }).set({ version: programVersion(), node: process.version }, 1)
  return {
    registry,
    request: requestMetrics(registry),
    inFlight: inFlightMetric(registry),
    ...attemptMetrics(registry),
    ...cacheMetrics(registry),
    ...upstreamMetrics(registry),
    ...sharedMetrics(registry),
    ...shelfMetrics(registry),
    ...crewMetrics(registry),
    ...securityMetrics(registry),
    ...certificateMetrics(registry),
    verification: createVerificationMetrics(registry),
  }
}

function requestMetrics(registry: Registry): Metrics['request'] {
  const registers = [registry]
  const requests = tally(registry, {
    name: 'portcullis_requests_total',
    help: 'Requests of clients, by kind, status and where the answer came from.',
    labelNames: ['kind', 'status', 'source'],
  })
  const bytes = tally(registry, {
    name: 'portcullis_response_bytes_total',
    help: 'Bytes of body sent to clients.',
    labelNames: ['kind', 'source'],
  })
  const duration = new Histogram({
    name: 'portcullis_request_duration_seconds',
    help: 'From the headers of a request to the last byte of its answer.',
    labelNames: ['kind'],
    buckets: durationBuckets,
    registers,
  })
  const firstByte = new Histogram({
    name: 'portcullis_time_to_first_byte_seconds',
    help: 'From the headers of a request to the first byte of its answer.',
    labelNames: ['kind', 'source'],
    buckets: durationBuckets,
    registers,
  })

  /** Everything that a request of one sort adds to, looked up once. */
  const seriesOf = memoize((_key: string, { kind, status, source }: CountedRequest) => ({
    requests: requests(kind, String(status), source),
    bytes: bytes(kind, source),
    duration: duration.labels(kind),
    firstByte: firstByte.labels(kind, source),
  }))

  return (sample) => {
    const series = seriesOf(`${sample.kind} ${sample.status} ${sample.source}`, sample)
    series.requests.total += 1
    series.bytes.total += sample.bytes
    series.duration.observe(sample.seconds)
    if (sample.firstByteSeconds !== undefined) series.firstByte.observe(sample.firstByteSeconds)
  }
}

function inFlightMetric(registry: Registry): Metrics['inFlight'] {
  let left = 0
  const gauge: Gauge = new Gauge({
    name: 'portcullis_response_bytes_in_flight',
    help: 'Bytes of blobs that clients have asked for and that are not sent yet: what to scale replicas by.',
    registers: [registry],
    collect: () => gauge.set(left),
  })
  return (change) => void (left += change)
}

function attemptMetrics(registry: Registry): Pick<Metrics, 'attempt' | 'received' | 'badAnswer'> {
  const attempts = tally(registry, {
    name: 'portcullis_upstream_attempts_total',
    help: 'HTTP requests to upstreams, by outcome.',
    labelNames: ['upstream', 'outcome'],
  })
  const errors = tally(registry, {
    name: 'portcullis_upstream_errors_total',
    help: 'Failed HTTP requests to upstreams, and answers of no use, by cause.',
    labelNames: ['upstream', 'cause'],
  })
  const duration = new Histogram({
    name: 'portcullis_upstream_attempt_duration_seconds',
    help: 'How long an HTTP request to an upstream took, its body included.',
    labelNames: ['upstream'],
    buckets: durationBuckets,
    registers: [registry],
  })
  const bytes = tally(registry, {
    name: 'portcullis_upstream_received_bytes_total',
    help: 'Bytes of content that came from upstreams, parts that were fetched again included.',
    labelNames: ['upstream'],
  })
  return {
    received: (upstream, count) => void (bytes(upstream).total += count),
    attempt({ upstream, outcome, status, reason, seconds }) {
      attempts(upstream, outcome).total += 1
      if (outcome === 'error') errors(upstream, reason ?? `status_${status ?? 'none'}`).total += 1
      duration.labels(upstream).observe(seconds)
    },
    badAnswer(upstream, reason) {
      errors(upstream, reason).total += 1
    },
  }
}

function securityMetrics(
  registry: Registry,
): Pick<Metrics, 'handshake' | 'handshakeFailure' | 'refusedCaller' | 'insecureUpstreams'> {
  const handshakes = tally(registry, {
    name: 'portcullis_handshakes_total',
    help: 'TLS handshakes of clients that went well.',
    labelNames: [],
  })()
  const failures = tally(registry, {
    name: 'portcullis_handshake_failures_total',
    help: 'TLS handshakes of clients that failed, by reason.',
    labelNames: ['reason'],
  })
  const refused = tally(registry, {
    name: 'portcullis_refused_callers_total',
    help: 'Requests refused because of who asks, by reason.',
    labelNames: ['reason'],
  })
  const insecure = new Gauge({
    name: 'portcullis_insecure_upstreams',
    help: 'Upstreams whose certificate is not checked (tls.verify: false).',
    labelNames: ['upstream'],
    aggregator: 'first',
    registers: [registry],
  })
  return {
    handshake: () => void (handshakes.total += 1),
    handshakeFailure: (reason) => void (failures(reason).total += 1),
    refusedCaller: (reason) => void (refused(reason).total += 1),
    insecureUpstreams: (names) => {
      insecure.reset()
      for (const upstream of names) insecure.set({ upstream }, 1)
    },
  }
}

function certificateMetrics(registry: Registry): Pick<Metrics, 'reload' | 'expiries'> {
  const reloads = tally(registry, {
    name: 'portcullis_reloads_total',
    help: 'Reloads of files: ok, or refused because something is wrong with them.',
    labelNames: ['part', 'result'],
  })
  let inUse: () => readonly Expiry[] = () => []
  const gauge = (kind: Expiry['kind'], name: string, help: string, labelNames: string[]) => {
    const ends: Gauge = new Gauge({
      name,
      help,
      labelNames,
      aggregator: 'first',
      registers: [registry],
      collect() {
        ends.reset()
        for (const expiry of inUse().filter((one) => one.kind === kind)) {
          const { use, file, name, serial } = expiry
          const labels =
            kind === 'crl' ? { use, file, issuer: name } : { use, file, subject: name, serial }
          ends.set(labels as Record<string, string>, expiry.expiresAt / 1000)
        }
      },
    })
  }
  gauge(
    'certificate',
    'portcullis_certificate_expiry_seconds',
    'When a certificate in use ends, as Unix time.',
    ['use', 'file', 'subject', 'serial'],
  )
  gauge(
    'crl',
    'portcullis_crl_next_update_seconds',
    'When the next revocation list is due, as Unix time; what is in use is outdated from then on.',
    ['use', 'file', 'issuer'],
  )
  return {
    reload: ({ part, result }) => void (reloads(part, result).total += 1),
    expiries: (ask) => void (inUse = ask),
  }
}
