import t from 'tap'
import { createQuietLog } from '../../src/rules/quiet-log.ts'

t.test('the same thing once a minute, with how often it was left out', async (t) => {
  let now = 0
  const quiet = createQuietLog(() => now)
  t.equal(quiet('a'), 0)
  t.equal(quiet('a'), undefined)
  t.equal(quiet('b'), 0, 'another thing')
  now = 59_999
  t.equal(quiet('a'), undefined)
  now = 60_000
  t.equal(quiet('a'), 2)
  t.equal(quiet('a'), undefined, 'and quiet again')
  now = 120_000
  t.equal(quiet('a'), 1, 'counted anew')
})

t.test('any number of things takes bounded memory, and the newest are known', async (t) => {
  const quiet = createQuietLog(() => 0)
  for (let at = 0; at < 5000; at += 1) quiet(String(at))
  t.equal(quiet('4999'), undefined)
  t.equal(quiet('0'), 0, 'the oldest is forgotten')
})
