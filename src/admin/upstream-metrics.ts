// What of the upstreams is measured: asked at each scrape.
import { Gauge, type Registry } from 'prom-client'
import type { Circuit } from '../cache/cache.ts'
import type { UpstreamStatus } from '../upstream/upstreams.ts'

/** How an upstream fares, and whether it is left alone. */
export interface UpstreamReport extends UpstreamStatus {
  /** The config says that it is never to be asked. */
  offline: boolean
  circuit: Circuit
}

export interface UpstreamPart {
  upstreams: (ask: () => UpstreamReport[]) => void
}

type Sample = [labels: Record<string, string>, value: number]

export function upstreamMetrics(registry: Registry): UpstreamPart {
  let ask: () => UpstreamReport[] = () => []

  function gauge(
    { name, help, labelNames = [] }: { name: string; help: string; labelNames?: string[] },
    samplesOf: (report: UpstreamReport) => Sample[],
  ): void {
    const measured: Gauge = new Gauge({
      name,
      help,
      labelNames: ['upstream', ...labelNames],
      aggregator: 'max',
      registers: [registry],
      collect() {
        measured.reset()
        for (const report of ask()) {
          for (const [labels, value] of samplesOf(report)) {
            measured.set({ upstream: report.upstream, ...labels }, value)
          }
        }
      },
    })
  }

  gauge(
    {
      name: 'portcullis_upstream_circuit_open',
      help: 'Whether the upstream is left alone for a moment, because nobody there can be asked.',
    },
    ({ circuit }) => [[{}, circuit.state === 'open' ? 1 : 0]],
  )
  gauge(
    {
      name: 'portcullis_upstream_endpoint_in_use',
      help: 'Which endpoint of the upstream is asked first now: 1, and 0 for the others.',
      labelNames: ['endpoint'],
    },
    ({ endpoints, inUse }) =>
      endpoints.map(({ url }) => [{ endpoint: url }, url === inUse.url ? 1 : 0]),
  )
  const ofQuota = (key: 'limit' | 'remaining') => {
    return ({ inUse: { quota } }: UpstreamReport): Sample[] =>
      quota === undefined ? [] : [[{}, quota[key]]]
  }
  gauge(
    {
      name: 'portcullis_upstream_quota_limit',
      help: 'Pulls that the registry allows within its window, as it told last.',
    },
    ofQuota('limit'),
  )
  gauge(
    {
      name: 'portcullis_upstream_quota_remaining',
      help: 'Pulls that are left of them, as it told last; see `quotaFloor`.',
    },
    ofQuota('remaining'),
  )
  return { upstreams: (asks) => void (ask = asks) }
}
