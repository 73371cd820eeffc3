// What works the queue of the shared store off, while the store is away.
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { queryObjects } from 'node:v8'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { createTolerantIndex } from '../../../src/cache/index/tolerant-index.ts'
import { contentKey } from '../../../src/cache/shared/layout.ts'
import type { ObjectStore } from '../../../src/cache/shared/object-store.ts'
import { openQueue } from '../../../src/cache/shared/queue.ts'
import { createStoreAccess } from '../../../src/cache/shared/store-access.ts'
import { createUploads } from '../../../src/cache/shared/uploads.ts'
import { createStorageProblems } from '../../../src/cache/storage-problems.ts'
import { openStore } from '../../../src/cache/store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { holding, lacking } from '../../helpers/bucket.ts'
import { app, startSite, until } from '../../helpers/cache.ts'
import { addImage, emptyContent, layerOf, pull } from '../../helpers/images.ts'
import { createMemoryStore } from '../../helpers/memory-store.ts'

const away: Pick<ObjectStore, 'name' | 'explain'> = {
  name: 'away',
  explain: () => ({ reason: 'timeout', path: 'cache.shared', message: 'it is away' }),
}

t.test('a store that stays away costs no memory', async (t) => {
  const dir = t.testdir()
  const store = openStore(dir)
  const log = pino({ level: 'silent' })
  const storageProblems = createStorageProblems(log, () => undefined)
  const index = createTolerantIndex(openIndex(dir), storageProblems)
  const queue = openQueue(join(dir, 'shared-queue'), (error) => t.error(error))
  queue.add({ do: 'content', digest: digestOf('a') })
  const access = createStoreAccess({
    store: away as ObjectStore,
    log,
    now: () => 0,
    onRequest: () => undefined,
  })
  access.failed('write', new Error('nobody answers'))
  let looks = 0
  const uploads = createUploads({
    access: {
      ...access,
      isResting: (part) => {
        looks += 1
        return access.isResting(part)
      },
    },
    queue,
    store,
    index,
    seen: new Map(),
    whenClear: async () => undefined,
    pause: { pruning: async () => '', isOn: () => false },
    log,
    restCheck: 1,
  })
  const promisesAfter = async (count: number) => {
    await until(() => looks >= count)
    return queryObjects(Promise, { format: 'count' })
  }
  const before = await promisesAfter(100)
  const after = await promisesAfter(600)
  t.ok(after - before < 250, `${after - before} promises are left of 500 looks`)
  t.equal(queue.size(), 1)
  await uploads.close()
  index.close()
  store.close()
})

/** A replica in front of an upstream with these images, and its store. */
async function startReplica(t: Test, images: Record<string, Buffer[]>) {
  const content = emptyContent()
  for (const [tag, layers] of Object.entries(images)) addImage(content, tag, layers)
  const site = await startSite(t, { repositories: { app: content } })
  const remote = createMemoryStore()
  const cache = site.open({ dir: t.testdir(), remote })
  const written = async () => until(() => cache.sharedWaiting?.() === 0, 'all is written')
  return { remote, cache, site, written }
}

t.test('no image is too large for a slow store', async (t) => {
  const timeout = AbortSignal.timeout.bind(AbortSignal)
  const layers = Array.from({ length: 4 }, (_, at) => layerOf(`layer ${at}`, 100_000))
  const { remote, cache, site, written } = await startReplica(t, { large: layers })
  let isAway = true
  remote.before = async (method) => {
    if (isAway) throw new Error('it is away')
    if (method === 'putFile') await wait(400)
  }
  await pull(cache, app, 'large')
  // What waits longer than a small object may is hours at this pace.
  t.intercept(AbortSignal, 'timeout', {
    value: (ms: number) => timeout(Math.max(ms / 1000, 250)),
  })
  isAway = false
  site.requests.length = 0
  site.clock.time += 16_000
  await written()
  t.same([...new Set(site.requests)], ['write ok'], 'nothing was ended')
  t.same(lacking(remote), [])
})

t.test('what is small goes past what is large', async (t) => {
  const large = Array.from({ length: 4 }, (_, at) => layerOf(`large ${at}`, 17 * 2 ** 20))
  const images = { small: [layerOf('small', 1000)], large }
  const { remote, cache, written } = await startReplica(t, images)
  const gate = Promise.withResolvers<void>()
  const keys = new Set(large.map((layer) => contentKey(digestOf(layer))))
  let [running, most] = [0, 0]
  remote.before = async (method, key) => {
    if (method !== 'putFile' || !keys.has(key)) return
    running += 1
    most = Math.max(most, running)
    await gate.promise
    running -= 1
  }
  await pull(cache, app, 'large')
  await until(() => running === 2, 'two are under way')
  await pull(cache, app, 'small')
  await until(() => holding(remote).tags.includes('small'), 'the small one is there')
  t.equal(most, 2)
  gate.resolve()
  await written()
  t.same(lacking(remote), [])
})

for (const bytes of [3 * 2 ** 20, 20 * 2 ** 20]) {
  t.test(`a layer of ${bytes} bytes of two images is written once`, async (t) => {
    const base = layerOf('base', bytes)
    const { remote, cache, site, written } = await startReplica(t, { one: [base], two: [base] })
    let isAway = true
    let writes = 0
    remote.before = async (method, key) => {
      if (isAway) throw new Error('it is away')
      if (key !== contentKey(digestOf(base))) return
      if (method === 'putFile') writes += 1
      await wait(100)
    }
    for (const tag of ['one', 'two']) await pull(cache, app, tag)
    isAway = false
    site.clock.time += 16_000
    await written()
    t.equal(writes, 1)
    t.same(lacking(remote), [])
  })
}
