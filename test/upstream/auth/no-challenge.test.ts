// A 401 without a challenge is of something on the way to the registry: what is known is still true.
import t from 'tap'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { startTestGateway } from '../../helpers/gateway.ts'
import { startUpstream, status } from '../../helpers/upstream.ts'

t.test('a login page with 401 in the place of a registry', async (t) => {
  const image = await buildSampleImage({ layerBytes: 1000 })
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const { send, lines } = await startTestGateway(
    t,
    `upstreams:
  registry.test: { url: '${upstream.url}', tagTtl: 0s }
defaultUpstream: registry.test
`,
  )
  t.equal((await send('/v2/app/manifests/1.0')).status, 200)
  const page = '<html>Log in</html>'
  upstream.fail(status(401, { 'content-type': 'text/html' }, page))
  const stale = await send('/v2/app/manifests/1.0')
  t.equal(stale.status, 200)
  t.match(stale.headers['warning'], /^110/)
  const told = lines.find(({ reason, detail }) => reason === 'bad_response' && detail !== undefined)
  t.match(told, { upstream: 'registry.test', detail: /without a challenge/ })
  const unknown = await send('/v2/app/manifests/other')
  t.match(unknown, { status: 502, code: 'UPSTREAM_FAILED' })
})
