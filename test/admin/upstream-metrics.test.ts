// What of the upstreams is measured, at a gateway that runs.
import t from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import * as faults from '../helpers/upstream.ts'

t.test('endpoints, circuit and quota', async (t) => {
  const repositories = { app: await buildSampleImage() }
  const quota = { 'ratelimit-limit': '100;w=21600', 'ratelimit-remaining': '76;w=21600' }
  const first = await faults.startUpstream(t, { repositories })
  const second = await faults.startUpstream(t, {
    repositories,
    faults: [faults.withHeaders(quota)],
  })
  const { send, adminPort } = await startTestGateway(
    t,
    `upstreams:
  registry.test: { url: '${first.url}', tagTtl: 0s, endpoints: [{ url: '${second.url}' }] }
defaultUpstream: registry.test
`,
  )
  const series = async () => {
    const answer = await fetch(`http://127.0.0.1:${adminPort}/metrics`)
    const lines = (await answer.text()).split('\n')
    return lines
      .filter((line) => /^portcullis_upstream_(circuit|endpoint|quota)/.test(line))
      .map((line) => line.replace(first.url, 'FIRST').replace(second.url, 'SECOND'))
  }
  const of = (open: number, atFirst: number) => [
    `portcullis_upstream_circuit_open{upstream="registry.test"} ${open}`,
    `portcullis_upstream_endpoint_in_use{upstream="registry.test",endpoint="FIRST"} ${atFirst}`,
    `portcullis_upstream_endpoint_in_use{upstream="registry.test",endpoint="SECOND"} ${1 - atFirst}`,
  ]
  const pull = async () => t.equal((await send('/v2/app/manifests/latest')).status, 200)
  await pull()
  t.same(await series(), of(0, 1))
  await first.close()
  await pull()
  t.same(await series(), [
    ...of(0, 0),
    'portcullis_upstream_quota_limit{upstream="registry.test"} 100',
    'portcullis_upstream_quota_remaining{upstream="registry.test"} 76',
  ])
  await second.close()
  await pull()
  t.match(await series(), [of(1, 0)[0]])
})
