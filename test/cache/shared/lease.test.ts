// One at a time prunes a bucket: who holds it, who is refused, and when a dead one is passed over.
import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { takeLease } from '../../../src/cache/shared/pruning/lease.ts'
import { until } from '../../helpers/cache.ts'
import { createMemoryStore, type MemoryStore } from '../../helpers/memory-store.ts'

const term = 1200

const { signal } = new AbortController()

function take(store: MemoryStore, holder: string, told: string[] = []) {
  return takeLease(store, { holder, term, onWait: (other) => void told.push(other), signal })
}

t.test('whoever has it keeps it, and the next one is told who that is', async (t) => {
  const store = createMemoryStore()
  const lease = await take(store, 'first')
  const told: string[] = []
  await t.rejects(take(store, 'second', told), /first prunes this bucket/)
  t.same(told, ['first'])
  await wait(term)
  t.doesNotThrow(() => lease.assertHeld())
  await lease.release()
  const second = await take(store, 'second', told)
  t.equal(told.length, 1, 'nobody had to wait')
  await second.release()
})

t.test('of two that begin at once one gets it', async (t) => {
  const store = createMemoryStore()
  const results = await Promise.allSettled(['a', 'b', 'c'].map(async (name) => take(store, name)))
  const held = results.filter((result) => result.status === 'fulfilled')
  t.equal(held.length, 1)
  await held[0]?.value.release()
})

t.test('a holder that died is passed over after the term', async (t) => {
  const store = createMemoryStore()
  const lease = await take(store, 'first')
  store.before = (method) => {
    if (method === 'swap') throw new Error('it is dead')
  }
  await wait(term / 2 + 50)
  t.throws(() => lease.assertHeld(), /nothing more is removed/)
  await t.rejects(lease.release())
  store.before = () => undefined
  const began = performance.now()
  const second = await take(store, 'second')
  t.ok(performance.now() - began >= term, 'it might have lived')
  await second.release()
})

t.test('an object that is none is held until it does not change', async (t) => {
  const store = createMemoryStore()
  await store.put('pruning', Buffer.from('?'), { ifAbsent: true })
  const told: string[] = []
  await (await take(store, 'first', told)).release()
  t.same(told, ['somebody'])
})

t.test('an answer that was lost on the way costs nothing', async (t) => {
  const store = createMemoryStore()
  const lease = await take(store, 'first')
  const { swap } = store
  store.swap = async (...args) => {
    await swap(...args)
    store.swap = swap
    throw new Error('nobody knows')
  }
  await wait(term)
  t.doesNotThrow(() => lease.assertHeld())
  await lease.release()
  await (await take(store, 'second')).release()
})

t.test('after an answer that was lost it is over all the same', async (t) => {
  const store = createMemoryStore()
  const lease = await take(store, 'first')
  const { swap } = store
  let isLost = false
  store.swap = async (...args) => {
    await swap(...args)
    store.swap = swap
    isLost = true
    throw new Error('nobody knows')
  }
  await until(() => isLost)
  await lease.release()
  const told: string[] = []
  await (await take(store, 'second', told)).release()
  t.same(told, [], 'nobody had to wait')
})

t.test('whoever waits for it can be told to stop', async (t) => {
  const store = createMemoryStore()
  const lease = await take(store, 'first')
  const end = new AbortController()
  const onWait = () => end.abort(new Error('enough'))
  // Its next look would be after three seconds.
  const began = performance.now()
  const options = { holder: 'second', term: 60_000, onWait, signal: end.signal }
  await t.rejects(takeLease(store, options), { name: 'AbortError' })
  t.ok(performance.now() - began < 1000)
  await lease.release()
})

t.test('a store that knows no conditions is not pruned', async (t) => {
  const store = createMemoryStore()
  store.knowsConditions = false
  await t.rejects(take(store, 'first'), /the store writes whatever the condition is/)
  const told: string[] = []
  await t.rejects(take(store, 'second', told), /the store writes whatever the condition is/)
  t.same(told, [], 'nobody holds it, and nobody waits')
})
