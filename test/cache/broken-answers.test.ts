// Manifests and lists that break off are asked for again, within a budget.
import t from 'tap'
import { answerBudget } from '../../src/oci/attempts.ts'
import { app, largest, readAll, startSite } from '../helpers/cache.ts'
import * as faults from '../helpers/upstream.ts'

const isGet = /^GET .*(manifests|tags)/

/** Each breaks one answer in its first bytes. */
const breaks: Record<string, faults.Fault[]> = {
  FIN: [faults.closeAfter(10)],
  RST: [faults.resetAfter(10)],
  'a stall': [faults.stallAfter(10)],
  'chunked, cut off': [faults.chunked(), faults.closeAfter(10)],
  'a status of 500': [faults.status(500)],
}
const manifestsOnly: Record<string, faults.Fault[]> = {
  'no length, cut off': [faults.closeDelimited(), faults.closeAfter(10)],
}

for (const [name, list] of Object.entries({ ...breaks, ...manifestsOnly })) {
  t.test(`once: ${name}`, async (t) => {
    const { cache, image, upstream } = await startSite(t, { stallTimeout: 300 })
    const digest = image.tags.get('latest')
    const once = () => upstream.fail(faults.on(isGet, faults.times(1, ...list)))
    once()
    const { content } = await cache.tag(app, 'latest')
    t.equal(content.digest, digest)
    for (const child of image.manifests.keys()) {
      if (child === digest) continue
      once()
      t.equal((await cache.manifest(app, child)).content.digest, child)
    }
    if (!(name in breaks)) return
    once()
    t.same((await cache.tags(app)).entries, ['1.0', 'latest'])
  })
}

t.test('an upstream that always breaks off is given up', async (t) => {
  for (const list of Object.values(breaks)) {
    const { cache, upstream } = await startSite(t, {
      faults: [faults.on(isGet, ...list)],
      stallTimeout: 100,
    })
    await t.rejects(async () => cache.tag(app, 'latest'), { name: 'GatewayError' })
    t.equal(upstream.count(isGet), answerBudget.repeats + 1)
  }
})

t.test('a blob whose first answers are 500', async (t) => {
  const isBlob = /^GET .*blobs/
  const site = await startSite(t)
  const [digest, bytes] = largest(site.image)
  site.upstream.fail(faults.on(isBlob, faults.times(answerBudget.repeats, faults.status(500))))
  t.ok((await readAll(await site.cache.blob(app, digest))).equals(bytes))
  t.equal(site.upstream.count(isBlob), answerBudget.repeats + 1)

  const broken = await startSite(t, { faults: [faults.on(isBlob, faults.status(500))] })
  const expected = { code: 'UPSTREAM_FAILED' }
  await t.rejects(async () => broken.cache.blob(app, digest), expected)
  t.equal(broken.upstream.count(isBlob), answerBudget.repeats + 1, 'it is given up')
})

t.test('what is no manifest is not asked for again', async (t) => {
  for (const fault of [faults.htmlPage(), faults.gzipEncoded(), faults.flipByte(3)]) {
    const { cache, upstream } = await startSite(t, { faults: [faults.on(isGet, fault)] })
    await t.rejects(async () => cache.tag(app, 'latest'), { name: 'GatewayError' })
    t.equal(upstream.count(isGet), 1)
  }
})
