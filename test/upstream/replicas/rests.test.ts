import t from 'tap'
import { createRests } from '../../../src/upstream/replicas/rests.ts'

function startRests(at = 10_000) {
  const clock = { now: at }
  return { clock, rests: createRests(250, 5000, () => clock.now) }
}

t.test('one that breaks off rests for a moment, each time', async (t) => {
  const { clock, rests } = startRests()
  t.notOk(rests.isResting('a'))
  for (let time = 0; time < 3; time += 1) {
    rests.failed('a')
    t.ok(rests.isResting('a'))
    t.notOk(rests.isResting('b'))
    clock.now += 249
    rests.failed('a')
    t.ok(rests.isResting('a'))
    clock.now += 1
    t.notOk(rests.isResting('a'), 'what fails while it rests does not make that longer')
    rests.asked('a')
    t.notOk(rests.isResting('a'), 'anybody may ask it then')
  }
})

t.test('one that takes long to fail rests until one request has found out how it is', async (t) => {
  const { clock, rests } = startRests()
  rests.late('a', clock.now - 3000)
  clock.now += 4999
  t.ok(rests.isResting('a'))
  clock.now += 1
  t.notOk(rests.isResting('a'))
  const askedAt = clock.now
  rests.asked('a')
  t.ok(rests.isResting('a'), 'nobody else asks')
  clock.now += 4000
  rests.answered('a', askedAt)
  t.notOk(rests.isResting('a'))
  rests.asked('a')
  t.notOk(rests.isResting('a'), 'it is well')
})

t.test('one that is tried and does not answer rests anew', async (t) => {
  const { clock, rests } = startRests()
  rests.distrusted('a')
  clock.now += 5000
  rests.asked('a')
  clock.now += 3000
  rests.late('a', clock.now - 3000)
  clock.now += 4999
  t.ok(rests.isResting('a'))
  clock.now += 1
  t.notOk(rests.isResting('a'))
})

t.test('one that answers others meanwhile is only slow', async (t) => {
  const { clock, rests } = startRests()
  const askedAt = clock.now
  clock.now += 2000
  rests.answered('a', clock.now - 10)
  clock.now += 3000
  rests.late('a', askedAt)
  t.notOk(rests.isResting('a'))
  rests.late('a', clock.now - 2000)
  t.ok(rests.isResting('a'), 'nothing has come since that was asked')
})

t.test('an answer to what was asked before it failed says nothing', async (t) => {
  const { clock, rests } = startRests()
  rests.failed('a')
  clock.now += 10
  rests.answered('a', clock.now - 20)
  t.ok(rests.isResting('a'))
  rests.answered('a', clock.now - 5)
  t.notOk(rests.isResting('a'))
})

t.test('one that sends what is wrong rests, and a clock that is set back ends it', async (t) => {
  const { clock, rests } = startRests()
  rests.answered('a', clock.now)
  rests.failed('a')
  rests.distrusted('a')
  clock.now += 4999
  t.ok(rests.isResting('a'))
  clock.now = 9000
  t.notOk(rests.isResting('a'))
})

t.test('one that has gone is forgotten', async (t) => {
  const { clock, rests } = startRests()
  rests.failed('a')
  rests.answered('a', clock.now - 1)
  rests.forget('a')
  t.notOk(rests.isResting('a'))
  rests.late('a', clock.now - 1)
  t.ok(rests.isResting('a'), 'what it answered before, too')
})
