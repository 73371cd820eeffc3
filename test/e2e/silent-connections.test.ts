// A few hundred silent connections, as `node test/e2e/silent-connections.ts` opens by the ten thousand.
import t from 'tap'
import { silentConnections } from './silent-connections.ts'

t.test('silent connections end, and pulls go on', async (t) => {
  const { pulls, failures, goneAfter, left } = await silentConnections(500)
  t.same(failures, [])
  t.ok(pulls >= 20, `${pulls} pulls`)
  t.equal(left, 0, `all gone after ${goneAfter} s`)
})
