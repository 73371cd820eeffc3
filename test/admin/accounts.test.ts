// After many mixed requests the sums of /metrics are the client's own counts, and each refusal counts once.
import { Agent, request } from 'node:https'
import { buffer } from 'node:stream/consumers'
import type { IncomingMessage } from 'node:http'
import t from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { startUpstream } from '../helpers/upstream.ts'

/** Ten requests each; ROUNDS=1000 makes it 10,000. */
const rounds = Number(process.env['ROUNDS'] ?? 100)

t.test('a client and /metrics agree', async (t) => {
  const pki = await testPki()
  const image = await buildSampleImage({ layerBytes: 100_000 })
  const upstream = await startUpstream(t, { repositories: { app: image, secret: image } })
  const gateway = await startTestGateway(
    t,
    `upstreams:
  registry.test: { url: '${upstream.url}' }
  away.test: { offline: true }
defaultUpstream: registry.test
policy: { rules: [{ repositories: ['registry.test/secret'], effect: deny }] }`,
  )
  const client = { cert: pki.client.certificatePem, key: pki.client.keyPem }
  const agent = new Agent({ keepAlive: true, maxSockets: 20, ca: pki.ca.certificatePem, ...client })
  t.teardown(() => agent.destroy())
  const send = (method: string, path: string) =>
    new Promise<{ status: number; bytes: number }>((resolve, reject) => {
      const asked = request(gateway.url + path, { agent, method }, (response: IncomingMessage) => {
        buffer(response).then(
          ({ length }) => resolve({ status: response.statusCode ?? 0, bytes: length }),
          reject,
        )
      })
      asked.on('error', reject).end()
    })

  const [blob = ''] = image.blobs.keys()
  const kinds: [kind: string, method: string, path: string][] = [
    ['manifest', 'GET', '/v2/app/manifests/1.0'],
    ['manifest', 'HEAD', '/v2/app/manifests/1.0'],
    ['manifest', 'GET', '/v2/app/manifests/missing'],
    ['manifest', 'GET', '/v2/secret/manifests/1.0'],
    ['manifest', 'GET', '/v2/away.test/app/manifests/1.0'],
    ['blob', 'GET', `/v2/app/blobs/${blob}`],
    ['blob', 'GET', `/v2/app/blobs/${digestOf(Buffer.from('nothing'))}`],
    ['tags', 'GET', '/v2/app/tags/list'],
    ['base', 'GET', '/v2/'],
    ['other', 'PUT', '/v2/app/manifests/1.0'],
  ]
  const counted = new Map<string, number>()
  const sums = { bytes: 0, denied: 0 }
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all(
      kinds.map(async ([kind, method, path]) => {
        const { status, bytes } = await send(method, path)
        counted.set(`${kind} ${status}`, (counted.get(`${kind} ${status}`) ?? 0) + 1)
        sums.bytes += bytes
        if (status === 403) sums.denied += 1
      }),
    )
  }
  await gateway.lastRequest()

  const text = await (await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)).text()
  const told = new Map<string, number>()
  for (const [, kind, status, value] of text.matchAll(
    /^portcullis_requests_total\{kind="(\w+)",status="(\d+)",.*\} (\d+)$/gm,
  )) {
    told.set(`${kind} ${status}`, (told.get(`${kind} ${status}`) ?? 0) + Number(value))
  }
  const sumOf = (pattern: RegExp) =>
    [...text.matchAll(pattern)].reduce((sum, [, value]) => sum + Number(value), 0)
  t.same(Object.fromEntries(told), Object.fromEntries(counted))
  t.equal(sumOf(/^portcullis_response_bytes_total\{.*\} (\d+)$/gm), sums.bytes)
  t.equal(sums.denied, rounds)
  t.equal(sumOf(/^portcullis_refused_callers_total\{.*\} (\d+)$/gm), sums.denied)
  t.equal(gateway.lines.filter(({ msg }) => msg === 'request').length, rounds * kinds.length)
})
