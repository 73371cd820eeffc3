import t from 'tap'
import { createRests } from '../../../src/upstream/replicas/rests.ts'

t.test('one that is back soon is asked soon, one that is gone less and less often', async (t) => {
  let now = 1000
  const rests = createRests(250, 5000, () => now)
  t.notOk(rests.isResting('a'))
  for (const length of [250, 500, 1000, 2000, 4000, 5000, 5000]) {
    rests.failed('a')
    t.ok(rests.isResting('a'))
    t.notOk(rests.isResting('b'))
    now += length - 1
    t.ok(rests.isResting('a'), `${length} ms have not passed`)
    now += 1
    t.notOk(rests.isResting('a'), `${length} ms have passed`)
  }
  rests.answered('a', now)
  rests.failed('a')
  now += 250
  t.notOk(rests.isResting('a'), 'after an answer the next rest is the first again')
})

t.test('many that fail at once are one failure', async (t) => {
  let now = 1000
  const rests = createRests(250, 5000, () => now)
  for (let index = 0; index < 30; index += 1) rests.failed('a')
  now += 250
  t.notOk(rests.isResting('a'))
})

t.test('an answer to what was asked before it failed says nothing', async (t) => {
  let now = 1000
  const rests = createRests(250, 5000, () => now)
  rests.failed('a')
  now += 10
  rests.answered('a', 990)
  t.ok(rests.isResting('a'))
  rests.answered('a', 1005)
  t.notOk(rests.isResting('a'))
})

t.test('one that is distrusted rests longest, and a clock that is set back ends it', async (t) => {
  let now = 10_000
  const rests = createRests(250, 5000, () => now)
  rests.failed('a')
  rests.distrusted('a')
  now += 4999
  t.ok(rests.isResting('a'))
  now = 9000
  t.notOk(rests.isResting('a'))
})

t.test('one that has gone is forgotten', async (t) => {
  const rests = createRests(250, 5000, () => 1000)
  rests.failed('a')
  rests.forget('a')
  t.notOk(rests.isResting('a'))
})
