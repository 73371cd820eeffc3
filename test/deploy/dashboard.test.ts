// Every query of the Grafana dashboard has data in a real Prometheus that scrapes a real gateway, by
// mutual TLS as docs/guides/monitoring.md says.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { createMetrics } from '../../src/admin/metrics.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { signCrl } from '../../src/pki/crl.ts'
import { startProgram, until } from '../e2e/lab/program.ts'
import { startTestGateway, type TestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { startUpstream, withHeaders } from '../helpers/upstream.ts'
import { optionsFor } from '../requirements.ts'
import { metricNamesIn } from './monitoring.ts'

interface Panel {
  title: string
  targets?: { expr: string }[]
}

t.setTimeout(120_000)

const root = join(import.meta.dirname, '../..')
const { panels } = JSON.parse(
  readFileSync(join(root, 'deploy/grafana/portcullis.json'), 'utf8'),
) as { panels: Panel[] }
const image = await buildSampleImage({ layerBytes: 100_000 })
const queries = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }) => ({ title, expr })),
)

t.test('the queries are about metrics that there are', async (t) => {
  const known = new Set((await createMetrics().registry.getMetricsAsJSON()).map(({ name }) => name))
  for (const { title, expr } of queries) {
    for (const name of metricNamesIn(expr)) t.ok(known.has(name), `${title}: ${name}`)
  }
})

t.test('every query has data', optionsFor('dashboard'), async (t) => {
  const gateway = await startGateway(t)
  const prometheus = await startPrometheus(t, gateway)
  let missing = queries
  for (let round = 0; round < 60 && missing.length > 0; round += 1) {
    await use(gateway, round)
    await setTimeout(1000)
    const answers = await Promise.all(missing.map(({ expr }) => prometheus(expr)))
    missing = missing.filter((_query, index) => answers[index]?.length === 0)
  }
  t.same(missing, [], 'nothing is without data')
})

async function startGateway(t: Test): Promise<TestGateway> {
  const pki = await testPki()
  const upstream = await startUpstream(t, {
    repositories: { app: image },
    faults: [withHeaders({ 'ratelimit-limit': '100;w=60', 'ratelimit-remaining': '76;w=60' })],
  })
  return startTestGateway(
    t,
    `upstreams:
  registry.test: { url: '${upstream.url}', tagTtl: 0s }
  broken.test: { url: 'https://127.0.0.1:1', tls: { verify: false } }
defaultUpstream: registry.test`,
    {
      admin: `admin:
  port: 0
  tls: { cert: server.crt, key: server.key, clientAuth: required, clientCa: [ca.crt], crl: [ca.crl] }`,
      files: {
        'ca.crl': await signCrl(pki.ca, [], { days: 1, previous: [] }),
        'prometheus.crt': pki.client.certificatePem,
        'prometheus.key': pki.client.keyPem,
      },
    },
  )
}

/** What happens to a gateway: pulls cold and warm, an upstream that is away, clients that are wrong. */
async function use(gateway: TestGateway, round: number): Promise<void> {
  const pki = await testPki()
  const paths = ['manifests/1.0', ...[...image.blobs.keys()].map((digest) => `blobs/${digest}`)]
  await Promise.all(paths.map(async (path) => gateway.send(`/v2/app/${path}`)))
  await gateway.send('/v2/app/tags/list')
  await gateway.send(`/v2/broken.test/app/manifests/tag-${round}`)
  await gateway.send('/v2/app/manifests/1.0', { client: pki.expiredClient })
  const plain = connect(gateway.port, '127.0.0.1', () => plain.end('GET / HTTP/1.1\r\n\r\n'))
  plain.on('error', () => undefined).resume()
}

/** Returns what asks it: the samples that are numbers. */
async function startPrometheus(t: Test, { folder, adminPort }: TestGateway) {
  const data = mkdtempSync(join(tmpdir(), 'portcullis-prometheus-'))
  t.teardown(() => rmSync(data, { recursive: true }))
  const config = scrapeConfigOfTheGuide()
  config.tls_config = {
    ...config.tls_config,
    ca_file: join(folder, 'ca.crt'),
    cert_file: join(folder, 'prometheus.crt'),
    key_file: join(folder, 'prometheus.key'),
    server_name: 'localhost',
  }
  config.static_configs = [{ targets: [`127.0.0.1:${adminPort}`] }]
  const file = join(data, 'prometheus.yaml')
  writeFileSync(
    file,
    stringify({
      global: { scrape_interval: '1s', scrape_timeout: '1s' },
      scrape_configs: [config],
    }),
  )
  let port = ''
  await startProgram(t, {
    command: 'prometheus',
    args: [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(data, 'tsdb')}`,
      '--web.listen-address=127.0.0.1:0',
    ],
    ready: ({ output }) => {
      port = /Listening on.*address=127\.0\.0\.1:(\d+)/.exec(output())?.[1] ?? ''
      return port !== ''
    },
  })
  await until('Prometheus is ready', async () =>
    fetch(`http://127.0.0.1:${port}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    ),
  )
  return async (expression: string): Promise<string[]> => {
    const query = expression
      .replaceAll('$__rate_interval', '1m')
      .replaceAll(/\$(job|instance)\b/g, '.*')
    const body = new URLSearchParams({ query })
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/query`, { method: 'POST', body })
    const { data: found, error } = (await answer.json()) as {
      data?: { result: { value: [number, string] }[] }
      error?: string
    }
    if (found === undefined) throw new Error(`${query}: ${error}`)
    return found.result.map(({ value }) => value[1]).filter((value) => value !== 'NaN')
  }
}

/** The block of the guide that begins with `scrape_configs`. */
function scrapeConfigOfTheGuide() {
  const guide = readFileSync(join(root, 'docs/guides/monitoring.md'), 'utf8')
  const [, yaml = ''] = /```yaml\n(scrape_configs:.*?)```/s.exec(guide) ?? []
  const { scrape_configs: configs } = parse(yaml) as {
    scrape_configs: { tls_config: object; static_configs: object[] }[]
  }
  const [config] = configs
  if (config === undefined) throw new Error('the guide has no scrape_configs')
  return config
}
