// What works the queue of the shared store off, while the store is away.
import { join } from 'node:path'
import { queryObjects } from 'node:v8'
import { pino } from 'pino'
import t from 'tap'
import { openIndex } from '../../../src/cache/index/content-index.ts'
import { createTolerantIndex } from '../../../src/cache/index/tolerant-index.ts'
import type { ObjectStore } from '../../../src/cache/shared/object-store.ts'
import { openQueue } from '../../../src/cache/shared/queue.ts'
import { createStoreAccess } from '../../../src/cache/shared/store-access.ts'
import { createUploads } from '../../../src/cache/shared/uploads.ts'
import { createStorageProblems } from '../../../src/cache/storage-problems.ts'
import { openStore } from '../../../src/cache/store.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import { until } from '../../helpers/cache.ts'

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
