// So many at once of each upstream: a long one holds up nobody but who has its place.
import t from 'tap'
import { createTurns } from '../../../src/cache/lists/turns.ts'
import { until } from '../../helpers/cache.ts'

t.test('who waits begins when any of those before is done', async (t) => {
  const inTurn = createTurns(2)
  const begun: string[] = []
  const ends = new Map<string, PromiseWithResolvers<void>>()
  const start = (name: string, upstream = 'one') => {
    const end = Promise.withResolvers<void>()
    ends.set(name, end)
    return inTurn(upstream, async () => {
      begun.push(name)
      await end.promise
      return name
    })
  }
  const long = start('long')
  const broken = t.rejects(start('broken'), /it broke/)
  const rest = ['third', 'fourth'].map((name) => start(name))
  void start('elsewhere', 'two')
  await until(() => begun.includes('elsewhere'))
  t.same(begun, ['long', 'broken', 'elsewhere'])
  ends.get('broken')?.reject(new Error('it broke'))
  await broken
  await until(() => begun.includes('third'))
  t.notOk(begun.includes('fourth'))
  ends.get('third')?.resolve()
  await until(() => begun.includes('fourth'), 'the fourth')
  ends.get('fourth')?.resolve()
  t.same(await Promise.all(rest), ['third', 'fourth'])
  ends.get('long')?.resolve()
  t.equal(await long, 'long')
})
