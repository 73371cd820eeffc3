// What a registry tells of the pulls that are left, as Docker Hub does.
import t from 'tap'
import { isShort, quotaIn } from '../../../src/upstream/endpoints/quota.ts'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { ask, startUpstreams } from '../../helpers/ask.ts'
import * as faults from '../../helpers/upstream.ts'

const hub = (remaining: number) => ({
  'ratelimit-limit': '100;w=21600',
  'ratelimit-remaining': `${remaining};w=21600`,
  'docker-ratelimit-source': '192.0.2.1',
})

t.test('read from the headers', async (t) => {
  const read = (headers: Record<string, string>) => quotaIn({ status: 200, headers }, 5)
  const window = 21_600_000
  t.same(read(hub(76)), { limit: 100, remaining: 76, window, at: 5 })
  t.same(read({ 'ratelimit-limit': '100', 'ratelimit-remaining': '7' })?.window, window)
  for (const wrong of ['', 'many', '-1', ';w=1']) {
    t.equal(read({ 'ratelimit-limit': '100', 'ratelimit-remaining': wrong }), undefined, wrong)
  }
  t.equal(read({}), undefined)
})

t.test('short is what was told within its window', async (t) => {
  const quota = { limit: 100, remaining: 9, window: 1000, at: 0 }
  t.equal(isShort(quota, 10, 999), true)
  t.equal(isShort(quota, 10, 1000), false, 'by then there are others')
  t.equal(isShort(quota, 10, -1), false, 'nor after the clock was set back')
  t.equal(isShort(quota, 9, 0), false)
  t.equal(isShort({ ...quota, remaining: 0 }, 0, 0), false)
  t.equal(isShort(undefined, 10, 0), false)
})

t.test('shown, from manifests and from a 429', async (t) => {
  const upstream = await faults.startUpstream(t, {
    repositories: { app: await buildSampleImage() },
  })
  const client = startUpstreams(t, { url: upstream.url, quotaFloor: 50 })
  const told = () => client.status()[0]
  await ask(client.open, {})
  t.equal(told()?.inUse.quota, undefined)
  upstream.fail(faults.withHeaders(hub(76)))
  await ask(client.open, { resource: 'tags/list' })
  t.equal(told()?.inUse.quota, undefined, 'other answers may be of somebody else')
  await ask(client.open, { method: 'HEAD' })
  t.match(told(), { inUse: { quota: { limit: 100, remaining: 76 } }, isQuotaShort: false })
  t.equal(client.isQuotaShort('up'), false)
  upstream.fail(faults.withHeaders(hub(49)))
  await ask(client.open, {})
  t.match(told(), { inUse: { quota: { remaining: 49 } }, isQuotaShort: true })
  t.same([client.isQuotaShort('up'), client.isQuotaShort('other')], [true, false])
  upstream.fail(faults.status(429))
  t.match((await ask(client.open, {})).error, { code: 'TOOMANYREQUESTS' })
  t.match(told(), { inUse: { quota: { remaining: 0 }, lastFailure: { reason: 'rate_limited' } } })
  client.forward(21_600_001)
  t.equal(client.isQuotaShort('up'), false)
})
