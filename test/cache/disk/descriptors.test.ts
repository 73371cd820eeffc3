// No descriptors are left: what is open is served, what is fetched is passed on, and it passes.
import t from 'tap'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import {
  addBlob,
  app,
  hashAll,
  largest,
  readAll,
  startSite,
  storedIn,
  until,
} from '../../helpers/cache.ts'
import { countDescriptors, exhaustDescriptors } from '../../helpers/limits.ts'
import { gate, on } from '../../helpers/upstream.ts'
import { optionsFor } from '../../requirements.ts'

const blobGet = /^GET .*blobs/

t.test('no descriptors left', optionsFor('storing'), async (t) => {
  const hold = gate()
  // More than sockets buffer: the upstream's end stays open until the download has begun.
  const image = await buildSampleImage({ layerBytes: 32_000_000 })
  const { cache, dir, upstream, counts } = await startSite(t, { image })
  const before = countDescriptors()
  const [digest, bytes] = largest(image)
  const config = addBlob(image, Buffer.from('{"config":1}'))
  const kept = addBlob(image, Buffer.alloc(500_000, 'kept'))
  for (const each of [config, kept]) await hashAll(await cache.blob(app, each))
  await until(() => counts.fills === 0)
  t.equal(await hashAll(await cache.blob(app, kept)), kept)
  upstream.fail(on(blobGet, hold.fault))
  const cold = cache.blob(app, digest)
  await hold.held(1)
  const open = before + 3
  await until(() => countDescriptors() === open, 'one file and the two ends of a connection')

  const giveBack = exhaustDescriptors()
  try {
    t.equal(await hashAll(await cache.blob(app, config)), config, 'from memory')
    t.equal(await hashAll(await cache.blob(app, kept)), kept, 'from a file that is open')
    hold.open()
    t.ok((await readAll(await cold)).equals(bytes), 'passed on')
  } finally {
    giveBack()
  }
  await until(() => counts.fills === 0)
  t.match(await cache.problems(), [/ failed: EMFILE$/])
  t.equal(storedIn(dir).length, 2)
  t.equal(await hashAll(await cache.blob(app, digest)), digest)
  await until(() => storedIn(dir).length === 3)
})

t.test(
  'no descriptor for a cached file: an error now, the file later',
  optionsFor('storing'),
  async (t) => {
    const { cache, image, counts, open } = await startSite(t)
    const [digest] = largest(image)
    await hashAll(await cache.blob(app, digest))
    await until(() => counts.fills === 0)
    await cache.close()
    const again = open()
    const giveBack = exhaustDescriptors()
    try {
      await t.rejects(async () => again.blob(app, digest), { code: 'UNAVAILABLE' })
    } finally {
      giveBack()
    }
    t.equal(await hashAll(await again.blob(app, digest)), digest)
  },
)
