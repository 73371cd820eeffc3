import t, { type Test } from 'tap'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { optionsFor } from '../requirements.ts'
import { makeCurl } from './lab/curl.ts'
import { configFor, startGateway, upstreamFor, upstreamName } from './lab/gateway.ts'
import { repository, startLab } from './lab/lab.ts'
import { pullThreeTimes } from './lab/rounds.ts'

t.test('curl', optionsFor('curl'), async (t) => {
  const lab = await startLab(t)
  const config = configFor(lab)
  const gateway = await startGateway(t, config)
  const curl = makeCurl(t, gateway, lab.certificates)
  const { digest: large, bytes } = lab.large
  const name = `/v2/${upstreamName}/${repository}`

  async function expectContent(t: Test, target: string, digest: Digest, type: string) {
    const head = await curl(target, '--head')
    const { status, headers, body } = await curl(target)
    t.equal(status, 200)
    t.equal(digestOf(body), digest, target)
    for (const answer of [headers, head.headers]) {
      t.equal(answer.get('docker-content-digest'), digest)
      t.equal(answer.get('content-type'), type)
      t.equal(answer.get('content-length'), String(body.length))
    }
  }

  await t.test('a cold range is the range, and the whole is fetched but once', async (t) => {
    const target = `${name}/blobs/${large}`
    const { status, headers, body } = await curl(target, '--range', '1000000-1999999')
    t.equal(status, 206)
    t.equal(headers.get('content-range'), `bytes 1000000-1999999/${bytes.length}`)
    t.ok(bytes.subarray(1_000_000, 2_000_000).equals(body))
    t.equal(digestOf((await curl(target)).body), large)
    const fetched = (await lab.nginx.requests()).filter(({ method, target }) => {
      return method === 'GET' && target.includes(large)
    })
    t.equal(fetched.length, 1)
  })

  await pullThreeTimes(t, lab, async (t) => {
    const type = lab.image.manifests.get(lab.index)?.mediaType ?? ''
    await expectContent(t, `${name}/manifests/1.0`, lab.index, type)
    for (const [digest, { mediaType }] of lab.image.manifests) {
      await expectContent(t, `${name}/manifests/${digest}`, digest, mediaType)
    }
    for (const digest of lab.image.blobs.keys()) {
      await expectContent(t, `${name}/blobs/${digest}`, digest, 'application/octet-stream')
    }
  })

  await t.test('warm ranges', async (t) => {
    const target = `${name}/blobs/${large}`
    const suffix = await curl(target, '--range', '-10')
    t.equal(suffix.status, 206)
    t.ok(bytes.subarray(-10).equals(suffix.body))
    const resumed = await curl(target, '--range', '8000000-')
    t.ok(bytes.subarray(8_000_000).equals(resumed.body))
    const beyond = await curl(target, '--range', `${bytes.length}-`)
    t.equal(beyond.status, 416)
    t.equal(beyond.headers.get('content-range'), `bytes */${bytes.length}`)
  })

  await t.test('ns, header and prefix name the same upstream', async (t) => {
    const manifest = `/v2/${repository}/manifests/1.0`
    const byNs = await curl(`${manifest}?ns=${upstreamName}`)
    t.equal(byNs.headers.get('oci-namespace'), upstreamName)
    const byHeader = await curl(manifest, '--header', `X-Registry: ${upstreamName}`)
    const byPrefix = await curl(`${name}/manifests/1.0`)
    for (const { body } of [byNs, byHeader, byPrefix]) t.equal(digestOf(body), lab.index)
    const byNothing = await curl(manifest)
    t.equal(byNothing.status, 404)
    t.match(byNothing.body.toString(), 'NAME_UNKNOWN')
  })

  await t.test('tags, referrers and what the cache holds', async (t) => {
    const json = async (target: string) =>
      JSON.parse((await curl(target)).body.toString()) as Record<string, unknown>
    t.match(await json(`${name}/tags/list`), { tags: ['1.0', 'latest', /^sha256-/] })
    t.match(await json(`${name}/referrers/${lab.index}`), {
      manifests: [{ artifactType: 'application/spdx+json' }],
    })
    t.same(await json('/v2/_catalog'), { repositories: [`${upstreamName}/${repository}`] })
  })

  await t.test('what the upstream does not have is 404, and a push is 405', async (t) => {
    t.equal((await curl(`${name}/blobs/${digestOf('nothing')}`)).status, 404)
    t.equal((await curl(`${name}/manifests/none`)).status, 404)
    const pushed = await curl(`${name}/blobs/uploads/`, '--request', 'POST')
    t.equal(pushed.status, 405)
    t.match(pushed.body.toString(), 'UNSUPPORTED')
  })

  await t.test('a tag is served stale, and says so, while nginx is away', async (t) => {
    const upstreams = { [upstreamName]: { ...upstreamFor(lab), tagTtl: '0s' } }
    const curl = makeCurl(t, await startGateway(t, { ...config, upstreams }), lab.certificates)
    const target = `${name}/manifests/1.0`
    const fresh = await curl(target)
    t.equal(fresh.headers.get('warning'), undefined)
    await lab.nginx.stop()
    t.teardown(() => lab.nginx.start())
    const stale = await curl(target)
    t.equal(stale.status, 200)
    t.match(stale.headers.get('warning'), /^110 /)
    t.equal(digestOf(stale.body), lab.index)
  })
})
