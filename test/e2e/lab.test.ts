// The lab itself works: what it claims about nginx is so.
import { readFileSync } from 'node:fs'
import { request } from 'node:https'
import t from 'tap'
import { digestOf } from '../../src/oci/digest.ts'
import { optionsFor } from '../requirements.ts'
import type { Pair } from './lab/certificates.ts'
import { repository, startLab, type Lab } from './lab/lab.ts'

t.test('the lab itself works', optionsFor('lab'), async (t) => {
  const lab = await startLab(t, { layerBytes: 100_000 })
  const { gatewayClient, client } = lab.certificates
  const target = `/v2/${repository}/blobs/${lab.large.digest}`

  await t.test('nginx lets the gateway through to the registry, and logs it', async (t) => {
    const { status, body } = await get(lab, target, gatewayClient)
    t.equal(status, 200)
    t.equal(digestOf(body), lab.large.digest)
    t.match(await lab.nginx.requests(), [
      { status: 200, method: 'GET', target, client: 'CN=gateway', verified: 'SUCCESS' },
    ])
  })

  await t.test('nginx answers 400 without its certificate, and to one of another CA', async (t) => {
    t.equal((await get(lab, target)).status, 400)
    t.equal((await get(lab, target, client)).status, 400)
    t.equal((await lab.nginx.requests()).length, 3)
  })

  await t.test('nginx can be away and come back', async (t) => {
    await lab.nginx.stop()
    await t.rejects(get(lab, target, gatewayClient), { code: 'ECONNREFUSED' })
    await lab.nginx.start()
    t.equal((await get(lab, target, gatewayClient)).status, 200)
  })
})

function get({ nginx, certificates }: Lab, target: string, client?: Pair) {
  const identity =
    client === undefined ? {} : { cert: readFileSync(client.cert), key: readFileSync(client.key) }
  const options = { ca: readFileSync(certificates.ca.upstream), agent: false as const, ...identity }
  return new Promise<{ status: number | undefined; body: Buffer }>((resolve, reject) => {
    request(`${nginx.url}${target}`, options, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () =>
        resolve({ status: response.statusCode, body: Buffer.concat(chunks) }),
      )
    })
      .on('error', reject)
      .end()
  })
}
