// Clients that leave: each is told as such, with its address, whatever it had asked for.
import { once } from 'node:events'
import { request, type RequestOptions } from 'node:https'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { until } from '../helpers/cache.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { gate, startUpstream, valveAfter, type Fault } from '../helpers/upstream.ts'

const image = buildSampleImage({ layerBytes: 12_000_000 })
const manifest = [...image.manifests.keys()][0] ?? ''
const blobs = [...image.blobs].sort(([, a], [, b]) => a.length - b.length).map(([digest]) => digest)
const [small = '', large = ''] = [blobs[0], blobs.at(-1)]

async function start(t: Test, ...faults: Fault[]) {
  const upstream = await startUpstream(t, { repositories: { app: image }, faults })
  const gateway = await startTestGateway(t, `upstreams: { hub: { url: '${upstream.url}' } }`)
  const pki = await testPki()
  const options: RequestOptions = {
    host: 'localhost',
    port: gateway.port,
    ca: pki.ca.certificatePem,
    cert: pki.client.certificatePem,
    key: pki.client.keyPem,
    agent: false,
  }
  const ask = (path: string, headers = {}, method = 'GET') => {
    const asked = request({ ...options, path: `/v2/hub/app/${path}`, headers, method })
    asked.on('error', () => undefined)
    asked.end()
    return asked
  }
  const told = () => gateway.lines.filter(({ msg }) => msg === 'request')
  return { ...gateway, upstream, ask, told }
}

const wanted: Record<string, [path: string, headers?: Record<string, string>, method?: string]> = {
  'a manifest': [`manifests/${manifest}`],
  'a tag': ['manifests/latest'],
  'the head of a tag': ['manifests/latest', {}, 'HEAD'],
  'a small blob': [`blobs/${small}`],
  'the size of a blob': [`blobs/${small}`, {}, 'HEAD'],
  'a large blob': [`blobs/${large}`],
  'a part': [`blobs/${large}`, { range: 'bytes=10-20' }],
  'several parts': [`blobs/${large}`, { range: 'bytes=10-20,11000000-11000009' }],
  tags: ['tags/list'],
  referrers: [`referrers/${manifest}`],
}

for (const [name, [path, headers, method]] of Object.entries(wanted)) {
  t.test(`whoever wanted ${name} leaves before the upstream has answered`, async (t) => {
    const hold = gate()
    const { ask, told } = await start(t, hold.fault)
    const asked = ask(path, headers, method)
    await hold.held(1)
    asked.destroy()
    await new Promise((resolve) => {
      setTimeout(resolve, 50)
    })
    hold.open()
    await until(() => told().length === 1, 'its line is there')
    t.match(told(), [
      { code: 'REQUEST_TIMEOUT', reason: 'client_left', client: /127\.0\.0\.1|::1/ },
    ])
    t.notMatch(told(), [{ err: {} }], 'no fault, no stack')
  })
}

t.test('whoever leaves in the middle of a body', async (t) => {
  const valve = valveAfter(3_000_000)
  const { ask, told } = await start(t, valve.fault)
  for (const headers of [{}, { range: 'bytes=10-11000000' }, { range: 'bytes=1-9,20-11000000' }]) {
    const before = told().length
    const asked = ask(`blobs/${large}`, headers)
    const [response] = (await once(asked, 'response')) as [NodeJS.ReadableStream]
    await once(response, 'data')
    asked.destroy()
    await until(() => told().length === before + 1, 'its line is there')
    t.match(told().at(-1), { reason: 'client_left', client: /127\.0\.0\.1|::1/ })
  }
  valve.open()
})
