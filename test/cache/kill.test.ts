import t from 'tap'
import { killLoop } from '../e2e/kill-loop.ts'
import { optionsFor } from '../requirements.ts'

t.test(
  'killed while it downloads and imports, what is stored stays right',
  optionsFor('kill'),
  async (t) => {
    const { kills, interrupted, violations } = await killLoop(t, 20)
    t.equal(kills, 20)
    t.ok(interrupted > 0, 'some of them in the middle of a download')
    t.same(violations, [])
  },
)
