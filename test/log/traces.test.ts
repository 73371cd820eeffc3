// Traces as a collector gets them: over HTTP, from a gateway with an upstream.
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { on, startUpstream, status } from '../helpers/upstream.ts'

interface SentSpan {
  name: string
  traceId: string
  spanId: string
  parentSpanId?: string
  status?: { code?: number }
  attributes: { key: string; value: Record<string, unknown> }[]
}

interface Sent {
  resourceSpans: { scopeSpans: { spans: SentSpan[] }[] }[]
}

const image = await buildSampleImage({ layerBytes: 1000 })
const traceId = '0af7651916cd43dd8448eb211c80319c'
const caller = 'b7ad6b7169203331'

async function startCollector(t: Test) {
  const spans: SentSpan[] = []
  const server = createServer((req, res) => {
    void json(req).then((sent) => {
      for (const { scopeSpans } of (sent as Sent).resourceSpans) {
        for (const scope of scopeSpans) spans.push(...scope.spans)
      }
      res.setHeader('content-type', 'application/json')
      res.end('{}')
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  return { spans, endpoint: `http://127.0.0.1:${port}/v1/traces` }
}

async function start(t: Test, traces: string) {
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}' } }
defaultUpstream: registry.test
${traces}`,
  )
  return { upstream, gateway }
}

const attribute = ({ attributes }: SentSpan, name: string): unknown =>
  Object.values(attributes.find(({ key }) => key === name)?.value ?? {})[0]

t.test('request, cache and attempt upstream, below the span of the caller', async (t) => {
  const { spans, endpoint } = await startCollector(t)
  const { gateway, upstream } = await start(t, `traces: { endpoint: '${endpoint}' }`)
  const headers = { traceparent: `00-${traceId}-${caller}-01` }
  t.equal((await gateway.send('/v2/app/manifests/latest', { headers })).status, 200)
  t.equal((await gateway.send('/v2/app/manifests/latest', { headers })).status, 200)
  upstream.fail(on(/missing/, status(404)))
  t.equal((await gateway.send('/v2/app/manifests/missing', { headers })).status, 404)
  await gateway.close(0)
  const [request, ...others] = spans.filter(({ name }) => name === 'request') as [SentSpan]
  t.equal(others.length, 2)
  t.match(request, { traceId, parentSpanId: caller })
  t.equal(attribute(request, 'portcullis.repository'), 'app')
  const caches = spans.filter(({ name }) => name === 'cache')
  const cold = caches.find(({ parentSpanId }) => parentSpanId === request.spanId) as SentSpan
  t.equal(attribute(cold, 'portcullis.source'), 'upstream')
  const attempts = spans.filter(({ name }) => name === 'upstream')
  const attempt = attempts.find(({ parentSpanId }) => parentSpanId === cold.spanId) as SentSpan
  t.equal(Number(attribute(attempt, 'http.response.status_code')), 200)
  t.equal(
    upstream.requests.find(({ url }) => url?.includes('latest'))?.headers['traceparent'],
    `00-${traceId}-${attempt.spanId}-01`,
  )
  const failed = others.find((span) => attribute(span, 'error.type') !== undefined)
  t.match(failed, { status: { code: 2 } })
})

t.test('what the caller does not want traced is not, and goes on so', async (t) => {
  const { spans, endpoint } = await startCollector(t)
  const { gateway, upstream } = await start(t, `traces: { endpoint: '${endpoint}' }`)
  const headers = { traceparent: `00-${traceId}-${caller}-00` }
  await gateway.send('/v2/app/manifests/latest', { headers })
  await gateway.close(0)
  t.same(spans, [])
  t.match(upstream.requests.at(-1)?.headers['traceparent'], new RegExp(`^00-${traceId}-.*-00$`))
})

t.test('a header that is none begins a trace of its own', async (t) => {
  const { spans, endpoint } = await startCollector(t)
  const { gateway } = await start(t, `traces: { endpoint: '${endpoint}' }`)
  await gateway.send('/v2/', { headers: { traceparent: 'rubbish' } })
  await gateway.close(0)
  t.equal(spans[0]?.traceId.length, 32)
  t.notOk(spans.find(({ name }) => name === 'request')?.parentSpanId)
})

t.test('a collector that is away costs no pull, and the end does not wait for it', async (t) => {
  const { gateway } = await start(t, `traces: { endpoint: 'http://127.0.0.1:9/v1/traces' }`)
  t.equal((await gateway.send('/v2/app/manifests/latest')).status, 200)
  const waits = setTimeout(10_000, 'waits', { ref: false })
  t.equal(await Promise.race([gateway.close(0), waits]), 0)
})

t.test('where none is configured nothing is passed on', async (t) => {
  const { gateway, upstream } = await start(t, '')
  const headers = { traceparent: `00-${traceId}-${caller}-01` }
  await gateway.send('/v2/app/manifests/latest', { headers })
  t.equal(upstream.requests.at(-1)?.headers['traceparent'], undefined)
})
