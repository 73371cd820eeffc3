import t from 'tap'
import { killLoop } from '../e2e/kill-loop.ts'
import { optionsFor } from '../requirements.ts'

t.test('killed while it downloads, what is stored stays right', optionsFor('kill'), async (t) => {
  const { kills, interrupted, violations } = await killLoop(t, 10)
  t.equal(kills, 10)
  t.ok(interrupted > 0, 'some of them in the middle of a download')
  t.same(violations, [])
})
