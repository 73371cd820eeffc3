// A bucket in which somebody else has written: what no replica writes is of no use, and does no harm.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import { app, minute, startSite, until } from '../../helpers/cache.ts'
import { pull } from '../../helpers/images.ts'
import { createMemoryStore } from '../../helpers/memory-store.ts'

t.setTimeout(5 * minute)
const MiB = 2 ** 20

const foreign: Record<string, Buffer> = {
  nothing: Buffer.alloc(0),
  'no JSON': Buffer.from('<html>'),
  null: Buffer.from('null'),
  'a list': Buffer.from('[{"size":1}]'),
  'wrong types': Buffer.from('{"size":"1","content":5,"digest":{},"checkedAt":[],"body":7}'),
  'a size beyond reason': Buffer.from(`{"size":${2 ** 50}}`),
  'a negative size': Buffer.from('{"size":-1}'),
  'a path for a digest': Buffer.from('{"size":1,"content":"sha256:../../x","digest":"../x"}'),
  'referrers that are none': Buffer.from('{"body":"[null,1,{},[]]","checkedAt":"x"}'),
  'something deep': Buffer.from(`{"size":${'['.repeat(MiB)}`),
}

/** A store that a first replica has filled. */
async function startRegion(t: Test) {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-test-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const image = await buildSampleImage({ layerBytes: 3 * MiB })
  const site = await startSite(t, { image })
  const store = createMemoryStore()
  let replicas = 0
  const open = () => site.open({ dir: join(folder, `${(replicas += 1)}`), remote: store })
  const first = open()
  await pull(first, app, 'latest')
  const [subject] = image.tags.values()
  if (subject === undefined) throw new Error('the image has no tag')
  await first.referrers(app, subject)
  await until(() => first.sharedWaiting?.() === 0, 'everything is written')
  await first.close()
  return { site, store, open, subject }
}

/** What is known of repositories, and the hashes of pieces. */
const isKnowledge = (key: string) => /^(repositories|hashes)\//.test(key)

for (const [name, body] of Object.entries(foreign)) {
  t.test(`objects that are ${name}`, async (t) => {
    const { site, store, open, subject } = await startRegion(t)
    const spoilt = [...store.objects.keys()].filter(isKnowledge)
    t.ok(spoilt.length > 5)
    const spoil = () => {
      for (const key of spoilt) store.objects.set(key, { body, modified: Date.now() })
    }
    spoil()
    const replica = open()
    await pull(replica, app, 'latest')
    t.ok((await replica.referrers(app, subject)).entries.length > 0)
    await replica.close()
    spoil()
    site.site.offline = true
    const listed = await open()
      .referrers(app, subject)
      .catch(() => undefined)
    t.same(listed?.entries ?? [], [])
  })
}

t.test('an object of any size in the place of a small one is not read whole', async (t) => {
  const { store, open } = await startRegion(t)
  const { get } = store
  let read = 0
  store.get = async (key, options) => {
    const found = await get(key, options)
    if (found === undefined || !isKnowledge(key)) return found
    async function* large() {
      for (let part = 0; part < 50; part += 1) {
        read += MiB
        yield Buffer.alloc(MiB)
      }
      t.fail(`${key} is read to its end`)
    }
    return { ...found, body: large() }
  }
  await pull(open(), app, 'latest')
  t.ok(read > MiB)
})
