import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { request, type RequestOptions } from 'node:https'
import t from 'tap'
import { optionsFor } from '../requirements.ts'
import { configFor, startGateway, upstreamName } from './lab/gateway.ts'
import { repository, startLab } from './lab/lab.ts'

const clients = 50
const layerBytes = 64 * 2 ** 20
const allowedGrowth = 64 * 2 ** 20

t.test('50 clients at once on one cold blob of 64 MiB', optionsFor('load'), async (t) => {
  const lab = await startLab(t, { layerBytes })
  const gateway = await startGateway(t, configFor(lab))
  const { ca, client } = lab.certificates
  const { digest } = lab.large
  const name = `/v2/${upstreamName}/${repository}`
  const options = {
    host: '127.0.0.1',
    port: gateway.port,
    ca: readFileSync(ca.edge),
    cert: readFileSync(client.cert),
    key: readFileSync(client.key),
    agent: false as const,
  }
  // What every gateway needs once: code, the first connection, the first look into the cache.
  await download({ ...options, path: `${name}/manifests/${lab.index}` })
  const before = gateway.memory()

  const path = `${name}/blobs/${digest}`
  const all = await Promise.all(
    Array.from({ length: clients }, () => download({ ...options, path })),
  )

  t.same(
    all,
    Array.from({ length: clients }, () => ({ status: 200, digest })),
  )
  const requests = await lab.nginx.requests()
  const fetched = requests.filter(
    ({ method, target }) => method === 'GET' && target.includes(digest),
  )
  t.equal(fetched.length, 1, 'nginx was asked once')
  const growth = gateway.peakMemory() - before
  t.ok(growth < allowedGrowth, `memory grew by ${Math.round(growth / 2 ** 20)} MiB`)
})

/** Downloads without keeping: what the body hashes to. */
function download(
  options: RequestOptions,
): Promise<{ status: number | undefined; digest: string }> {
  return new Promise((resolve, reject) => {
    request(options, (response) => {
      const hash = createHash('sha256')
      response.on('data', (chunk: Buffer) => hash.update(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({ status: response.statusCode, digest: `sha256:${hash.digest('hex')}` }),
      )
    })
      .on('error', reject)
      .end()
  })
}
