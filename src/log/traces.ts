// Sends spans to a collector by OTLP over HTTP. OpenTelemetry is loaded only where that is configured.
import type { Context, Span as OtelSpan } from '@opentelemetry/api'
import type { Config } from '../config/schema.ts'
import type { BeginSpan, Span } from '../oci/place.ts'
import { programVersion } from '../rules/version.ts'

export interface Traces {
  begin: BeginSpan
  /** Sends what has not been sent yet, for two seconds at most. */
  close: () => Promise<void>
}

/** How long the end waits for the collector, ms. */
const lastMs = 2000

/** Undefined where no collector is configured. */
export async function openTraces({ traces }: Pick<Config, 'traces'>): Promise<Traces | undefined> {
  const { endpoint, ratio } = traces
  if (endpoint === undefined) return undefined
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import('@opentelemetry/api'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/resources'),
  ])
  const version = programVersion()
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({ 'service.name': 'portcullis', 'service.version': version }),
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(ratio) }),
    spanProcessors: [
      new sdk.BatchSpanProcessor({ exporter: new OTLPTraceExporter({ url: endpoint }) }),
    ],
  })
  const tracer = provider.getTracer('portcullis', version)
  const epoch = (time = performance.now()) => performance.timeOrigin + time

  function spanOf(span: OtelSpan, context: Context): Span {
    const { traceId, spanId, traceFlags } = span.spanContext()
    const below = api.trace.setSpan(context, span)
    return {
      traceparent: `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`,
      child(name, attributes, begun) {
        const kind = name === 'upstream' ? api.SpanKind.CLIENT : api.SpanKind.INTERNAL
        const options = { kind, attributes, startTime: epoch(begun) }
        return spanOf(tracer.startSpan(name, options, below), below)
      },
      end(attributes, ended) {
        span.setAttributes(attributes)
        if ('error.type' in attributes) span.setStatus({ code: api.SpanStatusCode.ERROR })
        span.end(epoch(ended))
      },
    }
  }

  function contextOf(traceparent: string | undefined): Context {
    const parts = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent ?? '')
    if (parts === null) return api.ROOT_CONTEXT
    const [, traceId = '', spanId = '', flags = ''] = parts
    const remote = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true }
    return api.trace.setSpanContext(api.ROOT_CONTEXT, remote)
  }

  return {
    begin(traceparent, begun) {
      const context = contextOf(traceparent)
      const options = { kind: api.SpanKind.SERVER, startTime: epoch(begun) }
      return spanOf(tracer.startSpan('request', options, context), context)
    },
    async close() {
      const timer = Promise.withResolvers<void>()
      const timeout = setTimeout(timer.resolve, lastMs)
      await Promise.race([provider.shutdown().catch(() => undefined), timer.promise])
      clearTimeout(timeout)
    },
  }
}
