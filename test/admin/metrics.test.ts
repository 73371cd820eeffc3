// What is counted comes out as the series that docs/reference/metrics.md names.
import t from 'tap'
import { programVersion } from '../../src/rules/version.ts'
import type { Expiry } from '../../src/rules/expiry.ts'
import { createMetrics, type CountedRequest } from '../../src/admin/metrics.ts'

async function series(metrics: ReturnType<typeof createMetrics>): Promise<string[]> {
  const text = await metrics.registry.metrics()
  return text.split('\n').filter((line) => line.startsWith('portcullis_'))
}

const warm: CountedRequest = {
  kind: 'blob',
  status: 200,
  source: 'disk',
  bytes: 1000,
  seconds: 0.02,
  firstByteSeconds: 0.001,
}

t.test('requests', async (t) => {
  const metrics = createMetrics()
  metrics.request(warm)
  metrics.request(warm)
  metrics.request({ kind: 'manifest', status: 404, source: 'none', bytes: 80, seconds: 0.1 })
  const lines = await series(metrics)
  for (const line of [
    'portcullis_requests_total{kind="blob",status="200",source="disk"} 2',
    'portcullis_requests_total{kind="manifest",status="404",source="none"} 1',
    'portcullis_response_bytes_total{kind="blob",source="disk"} 2000',
    'portcullis_request_duration_seconds_count{kind="blob"} 2',
    'portcullis_time_to_first_byte_seconds_bucket{le="0.001",kind="blob",source="disk"} 2',
  ]) {
    t.ok(lines.includes(line), line)
  }
  t.notOk(lines.some((line) => line.includes('first_byte_seconds_count{kind="manifest"')))
  t.same(await series(metrics), lines, 'asking again changes nothing')
  t.ok(lines.includes('portcullis_response_bytes_in_flight 0'))
  metrics.inFlight(700)
  metrics.inFlight(-200)
  t.ok((await series(metrics)).includes('portcullis_response_bytes_in_flight 500'))
})

t.test('upstreams, cache and security', async (t) => {
  const metrics = createMetrics()
  const attempt = { upstream: 'docker.io', method: 'GET', seconds: 1 }
  metrics.attempt({ ...attempt, outcome: 'ok', status: 200 })
  metrics.attempt({ ...attempt, outcome: 'error', reason: 'unknown_ca' })
  metrics.attempt({ ...attempt, outcome: 'error', status: 503 })
  metrics.lookup('hit')
  metrics.lookup('miss')
  metrics.lookup('miss')
  metrics.coalesced()
  metrics.fills(1)
  metrics.fills(1)
  metrics.fills(-1)
  metrics.storageFailure('ENOSPC')
  metrics.evicted(100)
  metrics.evicted(50)
  metrics.uncached('no_room')
  metrics.condition(async () => ({
    freeBytes: 5,
    heldBytes: 6,
    entries: 7,
    maxBytes: 8,
    degraded: { folder: false, index: true, storing: true },
  }))
  metrics.received('docker.io', 7)
  metrics.received('docker.io', 8)
  metrics.handshake()
  metrics.handshakeFailure('expired')
  metrics.refusedCaller('no_purpose')
  metrics.insecureUpstreams(['a', 'b'])
  metrics.insecureUpstreams(['b'])
  const lines = await series(metrics)
  for (const line of [
    'portcullis_upstream_attempts_total{upstream="docker.io",outcome="ok"} 1',
    'portcullis_upstream_attempts_total{upstream="docker.io",outcome="error"} 2',
    'portcullis_upstream_errors_total{upstream="docker.io",cause="unknown_ca"} 1',
    'portcullis_upstream_errors_total{upstream="docker.io",cause="status_503"} 1',
    'portcullis_upstream_attempt_duration_seconds_count{upstream="docker.io"} 3',
    'portcullis_cache_lookups_total{result="hit"} 1',
    'portcullis_cache_lookups_total{result="miss"} 2',
    'portcullis_coalesced_clients_total 1',
    'portcullis_cache_storage_failures_total{cause="ENOSPC"} 1',
    'portcullis_cache_free_bytes 5',
    'portcullis_cache_bytes 6',
    'portcullis_cache_entries 7',
    'portcullis_cache_max_bytes 8',
    'portcullis_cache_evicted_images_total 2',
    'portcullis_cache_evicted_bytes_total 150',
    'portcullis_cache_uncached_total{cause="no_room"} 1',
    'portcullis_cache_degraded{part="folder"} 0',
    'portcullis_cache_degraded{part="index"} 1',
    'portcullis_fills_in_flight 1',
    'portcullis_upstream_received_bytes_total{upstream="docker.io"} 15',
    'portcullis_handshakes_total 1',
    'portcullis_handshake_failures_total{reason="expired"} 1',
    `portcullis_build_info{version="${programVersion()}",node="${process.version}"} 1`,
    'portcullis_refused_callers_total{reason="no_purpose"} 1',
    'portcullis_insecure_upstreams{upstream="b"} 1',
  ]) {
    t.ok(lines.includes(line), line)
  }
  t.notOk(lines.some((line) => line.includes('upstream="a"')))
})

t.test('two sets share nothing', async (t) => {
  const [one, two] = [createMetrics(), createMetrics()]
  one.coalesced()
  t.ok((await series(one)).includes('portcullis_coalesced_clients_total 1'))
  t.ok((await series(two)).includes('portcullis_coalesced_clients_total 0'))
})

t.test('reloads, and the ends of what is in use at the time of asking', async (t) => {
  const metrics = createMetrics()
  const expiresAt = Date.UTC(2030, 0, 1)
  let inUse: Expiry[] = [
    {
      kind: 'certificate',
      use: 'listen.tls.cert',
      file: '/a',
      name: 'CN=x',
      serial: '0A',
      expiresAt,
    },
    { kind: 'crl', use: 'listen.tls.crl', file: '/b', name: 'CN=CA', expiresAt },
  ]
  metrics.expiries(() => inUse)
  metrics.reload({ part: 'listen', result: 'ok', problems: [] })
  metrics.reload({ part: 'listen', result: 'refused', problems: [] })
  const text = await metrics.registry.metrics()
  const seconds = expiresAt / 1000
  for (const line of [
    `portcullis_certificate_expiry_seconds{use="listen.tls.cert",file="/a",subject="CN=x",serial="0A"} ${seconds}`,
    `portcullis_crl_next_update_seconds{use="listen.tls.crl",file="/b",issuer="CN=CA"} ${seconds}`,
    'portcullis_reloads_total{part="listen",result="ok"} 1',
    'portcullis_reloads_total{part="listen",result="refused"} 1',
  ]) {
    t.ok(text.split('\n').includes(line), line)
  }
  inUse = []
  t.notMatch(await metrics.registry.metrics(), /expiry_seconds\{/)
})
