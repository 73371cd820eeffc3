// Few pulls are left at a registry: known tags cost none, and what is new still comes.
import t from 'tap'
import { digestOf } from '../../../src/oci/digest.ts'
import { mediaTypes } from '../../../src/oci/media-type.ts'
import { app, minute, startSite } from '../../helpers/cache.ts'
import { on, status } from '../../helpers/upstream.ts'

t.test('tags are asked by HEAD only, and served as they are', async (t) => {
  const site = { isShort: true }
  const { cache, upstream, clock, image } = await startSite(t, {
    isQuotaShort: () => site.isShort,
  })
  const { content } = await cache.tag(app, 'latest')
  t.equal(upstream.count(/^GET/), 1, 'what is not there is fetched')
  const { digest } = content

  clock.time += 5 * minute
  const same = await cache.tag(app, 'latest')
  t.match(same, { content: { digest } })
  t.notOk(same.stale, 'it has not moved')
  await cache.tag(app, 'latest')
  t.equal(upstream.count(/^HEAD/), 1, 'and is fresh again')

  const bytes = Buffer.from('{"schemaVersion":2,"manifests":[],"x":1}')
  const moved = digestOf(bytes)
  image.manifests.set(moved, { mediaType: mediaTypes.ociIndex, bytes })
  image.tags.set('latest', moved)
  clock.time += 5 * minute
  t.match(await cache.tag(app, 'latest'), { content: { digest }, stale: true })
  upstream.fail(on(/HEAD/, status(405)))
  t.match(await cache.tag(app, 'latest'), { content: { digest }, stale: true })
  t.equal(upstream.count(/^GET/), 1)

  upstream.fail()
  site.isShort = false
  t.match(await cache.tag(app, 'latest'), { content: { digest: moved } })
})
