import t from 'tap'
import { createThrottle } from '../../src/identity/throttle.ts'

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

t.test('the holder of a /64 is one source, IPv4 in IPv6 is IPv4', async (t) => {
  const throttle = createThrottle({ burst: 1, refill: 1000, now: () => 0 })
  throttle.fail('2001:db8:0:1::1')
  t.equal(throttle.wait('2001:0db8::1:ffff:0:0:2'), 1000)
  t.equal(throttle.wait('2001:db8:0:2::1'), 0)
  throttle.fail('::ffff:10.0.0.1')
  t.equal(throttle.wait('10.0.0.1'), 1000)
})

t.test('memory is bounded: who failed longest ago is forgotten', async (t) => {
  const throttle = createThrottle({ burst: 1, refill: 1000, sources: 2, now: () => 0 })
  for (const source of ['a', 'b', 'a', 'c']) throttle.fail(source)
  t.equal(throttle.wait('b'), 0)
  t.ok(throttle.wait('a') > 0)
  t.ok(throttle.wait('c') > 0)
})
