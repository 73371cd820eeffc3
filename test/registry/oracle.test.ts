// Whether another tenant has something cached cannot be told, from the answer or by the upstream asked.
import t from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { issueCertificate } from '../../src/pki/authority.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { testPki } from '../helpers/tls.ts'
import { startUpstream } from '../helpers/upstream.ts'

const pki = await testPki()
const secret = await buildSampleImage({ layerBytes: 300_000 })
const owner = await issueCertificate(pki.ca, { profile: 'client', commonName: 'owner' })
const curious = await issueCertificate(pki.ca, { profile: 'client', commonName: 'curious' })

t.test('what is cached for somebody else is as unknown as what is nowhere', async (t) => {
  const theirs = await startUpstream(t, { repositories: { secret } })
  const mine = await startUpstream(t, { repositories: {} })
  const { send } = await startTestGateway(
    t,
    `upstreams: { a.test: { url: '${theirs.url}' }, b.test: { url: '${mine.url}' } }
policy:
  default: deny
  rules:
    - { who: { cn: owner }, repositories: a.test/** }
    - { who: { cn: curious }, repositories: b.test/** }
`,
  )
  const blobs = [...secret.blobs.keys()]
  const manifests = [...secret.manifests.keys()]
  for (const blob of blobs) await send(`/v2/a.test/secret/blobs/${blob}`, { client: owner })
  for (const one of manifests) await send(`/v2/a.test/secret/manifests/${one}`, { client: owner })
  const index = secret.tags.get('1.0') ?? ''
  await send(`/v2/a.test/secret/referrers/${index}`, { client: owner })

  const ask = async (path: string, digest: string, method: string, range: boolean) => {
    const from = mine.requests.length
    const answer = await send(`/v2/b.test/pub/${path}/${digest}`, {
      client: curious,
      method,
      ...(range ? { headers: { range: 'bytes=5-9' } } : {}),
    })
    const { date: _date, 'x-request-id': _id, ...headers } = answer.headers
    const asked = mine.requests.slice(from).map(({ method: by, url }) => `${by} ${url}`)
    const told = { status: answer.status, headers, body: answer.body.toString(), asked }
    return JSON.stringify(told)
      .replaceAll(digest, 'DIGEST')
      .replaceAll(digest.replace(':', '-'), 'TAG')
  }
  const kinds: [path: string, here: string[]][] = [
    ['blobs', [...blobs, ...manifests]],
    ['manifests', [...manifests, ...blobs]],
    ['referrers', [index]],
  ]
  for (const [path, here] of kinds) {
    for (const digest of here) {
      for (const method of ['HEAD', 'GET']) {
        for (const range of [false, true]) {
          const nowhere = digestOf(`nowhere ${path} ${digest}`)
          const expected = await ask(path, nowhere, method, range)
          const got = await ask(path, digest, method, range)
          t.equal(got, expected, `${method} ${path}${range ? ' with Range' : ''}`)
        }
      }
    }
  }
})
