// Downloads that nobody waits for: they outlast a link that is down, and nothing comes twice.
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { app, hashAll, largest, startSite, storedIn } from '../../helpers/cache.ts'
import { closeAfter, ignoreRange, on, resetAfter } from '../../helpers/upstream.ts'

const background = { ...app, isBackground: true }

t.test('the link is away for longer than clients wait', async (t) => {
  const [part, nothing] = [closeAfter(500_000), resetAfter(0)]
  let count = 0
  const site = await startSite(t, {
    faults: [on(/blobs/, (...exchange) => (count++ === 0 ? part : nothing)(...exchange))],
    retryDelay: 1,
  })
  const [digest, bytes] = largest(site.image)
  const shelf = hashAll(await site.cache.blob(background, digest))
  while (site.upstream.requests.length < 12) await setTimeout(10)

  await t.rejects(hashAll(await site.cache.blob(app, digest)), { code: 'UPSTREAM_FAILED' })
  site.upstream.fail()
  t.equal(await shelf, digest)
  await site.cache.close()
  t.ok(storedIn(site.dir).includes(digest))
  const ranges = site.upstream.requests.flatMap(({ url, headers }) =>
    url.includes(digest) ? [headers.range] : [],
  )
  t.equal(ranges.filter((range) => range === undefined).length, 1, 'never from the beginning')
  t.ok(bytes.length > 500_000)
})

t.test('what would come again from its beginning each time is given up', async (t) => {
  const site = await startSite(t, {
    faults: [on(/blobs/, ignoreRange(), resetAfter(500_000))],
    retryDelay: 1,
  })
  const [digest] = largest(site.image)
  await t.rejects(hashAll(await site.cache.blob(background, digest)), { code: 'UPSTREAM_FAILED' })
})
