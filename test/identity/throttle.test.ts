import t from 'tap'
import { createThrottle, sourceOf } from '../../src/identity/throttle.ts'

t.test('some failures are free, then each has to be waited for', async (t) => {
  let time = 1_000_000
  const throttle = createThrottle({ burst: 3, refill: 1000, now: () => time })
  for (let i = 0; i < 3; i += 1) {
    t.equal(throttle.wait('10.0.0.1'), 0)
    throttle.fail('10.0.0.1')
  }
  t.equal(throttle.wait('10.0.0.1'), 1000)
  t.equal(throttle.wait('10.0.0.2'), 0, 'others are not concerned')
  time += 1000
  t.equal(throttle.wait('10.0.0.1'), 0)
  throttle.fail('10.0.0.1')
  t.equal(throttle.wait('10.0.0.1'), 1000)
  time += 10_000
  t.equal(throttle.wait('10.0.0.1'), 0)
})

t.test('a burst of failures at once does not lock out for ever', async (t) => {
  const throttle = createThrottle({ burst: 2, refill: 1000, now: () => 0 })
  for (let i = 0; i < 10_000; i += 1) throttle.fail('a')
  t.ok(throttle.wait('a') <= 61_000)
})

t.test('what is taken back was no failure', async (t) => {
  let time = 0
  const throttle = createThrottle({ burst: 2, refill: 1000, now: () => time })
  for (let i = 0; i < 5; i += 1) {
    throttle.fail('a')
    throttle.forgive('a')
  }
  t.equal(throttle.wait('a'), 0)
  throttle.fail('a')
  throttle.fail('a')
  t.equal(throttle.wait('a'), 1000)
  throttle.forgive('a')
  t.equal(throttle.wait('a'), 0)
  throttle.forgive('nobody')
  time += 5000
  throttle.fail('a')
  t.equal(throttle.wait('a'), 0, 'what was taken back does not add up')
})

t.test('who is one source', async (t) => {
  t.equal(sourceOf('2001:db8:0:1::1', undefined), sourceOf('2001:0db8::1:ffff:0:0:2', undefined))
  t.not(sourceOf('2001:db8:0:1::1', undefined), sourceOf('2001:db8:0:2::1', undefined))
  t.equal(sourceOf('::ffff:10.0.0.1', undefined), sourceOf('10.0.0.1', undefined))
  t.equal(sourceOf('10.0.0.1', { thumbprint: 'x' }), sourceOf('10.0.0.2', { thumbprint: 'x' }))
  t.not(sourceOf('10.0.0.1', { thumbprint: 'x' }), sourceOf('10.0.0.1', { thumbprint: 'y' }))
  t.not(sourceOf('10.0.0.1', { thumbprint: 'x' }), sourceOf('10.0.0.1', undefined))
})

t.test('memory is bounded: who failed longest ago is forgotten', async (t) => {
  const throttle = createThrottle({ burst: 1, refill: 1000, keys: 2, now: () => 0 })
  for (const key of ['a', 'b', 'a']) throttle.fail(key)
  t.ok(throttle.wait('b') > 0, 'to ask is no failure')
  throttle.fail('c')
  t.equal(throttle.wait('b'), 0)
  t.ok(throttle.wait('a') > 0)
  t.ok(throttle.wait('c') > 0)
})

t.test('a key of any length is one key', async (t) => {
  const throttle = createThrottle({ burst: 1, refill: 1000, now: () => 0 })
  const long = 'x'.repeat(100_000)
  throttle.fail(`${long}a`)
  t.equal(throttle.wait(`${long}a`), 1000)
  t.equal(throttle.wait(`${long}b`), 0)
})
