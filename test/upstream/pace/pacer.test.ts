// What comes from an upstream: within its rate, and what somebody waits for before the rest.
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import type { Receiver } from '../../../src/oci/origin.ts'
import type { MaxRate } from '../../../src/upstream/pace/bucket.ts'
import { createPacer } from '../../../src/upstream/pace/pacer.ts'

/** A pacer in front of an upstream that sends as long as it is read. */
function rig(maxRate: MaxRate, time = new Date(2026, 0, 1, 12).getTime()) {
  const clock = { time }
  const sources = new Map<string, { receiver: Receiver; isPaused: boolean }>()
  const received: Record<string, number> = {}
  const config = { maxRate }
  const open = createPacer({
    maxRateOf: () => config.maxRate,
    now: () => clock.time,
    openUpstream({ resource }, receiver) {
      const source = { receiver, isPaused: false }
      sources.set(resource, source)
      return {
        pause: () => void (source.isPaused = true),
        resume: () => void (source.isPaused = false),
        abort: () => void (source.isPaused = true),
      }
    },
  })
  const ask = (resource: string, isWaitedFor?: () => boolean) => {
    received[resource] = 0
    return open(
      {
        resource,
        upstream: 'registry.test',
        method: 'GET',
        repository: 'app',
        ...(isWaitedFor && { isWaitedFor }),
      },
      {
        start: () => undefined,
        data: (chunk) => void (received[resource] = (received[resource] ?? 0) + chunk.length),
        end: () => undefined,
        fail: () => undefined,
      },
    )
  }
  /** Everything that is not held back, at most so many chunks of 1000 bytes each. */
  const flow = (most = 1000) => {
    for (let count = 0; count < most; count += 1) {
      for (const { receiver, isPaused } of sources.values()) {
        if (!isPaused) receiver.data(Buffer.alloc(1000))
      }
    }
  }
  /** Lets time pass, in steps, and everything flow meanwhile. */
  const pass = async (ms: number, step = 50) => {
    for (let passed = 0; passed < ms; passed += step) {
      clock.time += step
      for (let looks = 0; looks < 3; looks += 1) {
        await setTimeout(12)
        flow()
      }
    }
  }
  const finish = (resource: string) => {
    sources.get(resource)?.receiver.end()
    sources.delete(resource)
  }
  return { ask, flow, pass, finish, received, sources, clock, config }
}

t.test('no more than the rate, over all that comes', async (t) => {
  const { ask, pass, received } = rig(100_000)
  ask('a')
  ask('b')
  await pass(2000)
  const all = (received['a'] ?? 0) + (received['b'] ?? 0)
  t.ok(all > 180_000, `${all} bytes`)
  t.ok(all <= 2 * 100_000 + 20_000 + 2000, `${all} bytes`)
  t.ok(Math.min(received['a'] ?? 0, received['b'] ?? 0) > 50_000, 'in turns')
})

t.test('who waits comes first, with a rate and without', async (t) => {
  for (const rate of [undefined, 100_000]) {
    const { ask, pass, flow, finish, received } = rig(rate)
    let isWaitedFor = false
    ask('background', () => isWaitedFor)
    flow(10)
    t.equal(received['background'], 10_000, 'alone it is not held up')
    ask('client')
    flow(1)
    const before = received['background']
    await pass(500)
    t.equal(received['background'], before)
    t.ok((received['client'] ?? 0) > 30_000)

    isWaitedFor = true
    await pass(500)
    t.not(received['background'], before, 'somebody has come to wait for it')
    isWaitedFor = false
    await pass(100)
    const then = received['background'] ?? 0
    finish('client')
    await pass(500)
    t.ok((received['background'] ?? 0) > then)
  }
})

t.test('a client who takes nothing holds nobody up', async (t) => {
  const { ask, pass, received } = rig(undefined)
  const slow = ask('client')
  slow.pause()
  ask('background', () => false)
  await pass(50)
  t.ok((received['background'] ?? 0) > 0)
  slow.resume()
  await pass(50)
  const before = received['background']
  await pass(50)
  t.equal(received['background'], before)
  slow.abort()
  await pass(50)
  t.not(received['background'], before)
})

t.test('whoever is stopped by its receiver stays so', async (t) => {
  const { ask, pass, received, sources } = rig(1000)
  const slow = ask('a')
  await pass(100)
  slow.pause()
  await pass(3000, 500)
  t.equal(sources.get('a')?.isPaused, true)
  const before = received['a']
  slow.resume()
  await pass(100)
  t.not(received['a'], before)
})

t.test('by the hours of the day, also over midnight', async (t) => {
  const { ask, flow, received, clock } = rig({ '08-18': 1000, '22:30-06': 2000 })
  const at = (hours: number, minutes = 0) => {
    clock.time = new Date(2026, 0, hours < 7 ? 3 : 2, hours, minutes).getTime()
    const resource = `${hours}:${minutes}`
    const exchange = ask(resource)
    flow(100)
    exchange.abort()
    return received[resource]
  }
  t.equal(at(7, 59), 100_000)
  t.equal(at(8), 1000)
  t.equal(at(18), 100_000)
  t.equal(at(22, 29), 100_000)
  t.equal(at(23), 1000)
  t.equal(at(5, 59), 1000)
  t.equal(at(6), 100_000)
})

t.test('a clock that jumps gives nobody more', async (t) => {
  const { ask, pass, received, clock } = rig(100_000)
  ask('a')
  await pass(100)
  const before = received['a'] ?? 0
  clock.time += 3_600_000
  await pass(50)
  t.ok((received['a'] ?? 0) - before <= 20_000 + 1000)
  clock.time -= 7_200_000
  await pass(200)
  t.ok((received['a'] ?? 0) - before > 20_000, 'and goes on after one that was set back')
})

t.test('a reload counts for what is under way', async (t) => {
  const { ask, flow, received, config } = rig(1000)
  ask('a')
  flow(10)
  t.equal(received['a'], 1000)
  config.maxRate = undefined
  ask('b')
  flow(10)
  t.equal(received['b'], 10_000)
})

t.test('one that is aborted after its end changes nothing for others', async (t) => {
  const { ask, pass, finish, received } = rig(undefined)
  const over = ask('over')
  finish('over')
  ask('client')
  over.abort()
  ask('background', () => false)
  await pass(50)
  t.ok((received['client'] ?? 0) > 0)
  t.ok((received['background'] ?? 0) <= 1000, 'it still comes after what somebody waits for')
})
