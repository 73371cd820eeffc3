// How the status page asks.
import t from 'tap'
import { createLatest } from '../../../src/admin/page/asking.js'

t.test('what was asked for last is shown, whatever comes first', async (t) => {
  const latest = createLatest()
  const shown: string[] = []
  const ask = async (work: Promise<string>) =>
    latest(
      async () => work,
      (text) => void shown.push(text),
      (error) => void shown.push(String(error)),
    )
  const [first, second] = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
  const both = [ask(first.promise), ask(second.promise)]
  second.resolve('second')
  await both[1]
  first.reject(new Error('first'))
  await both[0]
  t.same(shown, ['second'])
  await ask(Promise.reject(new Error('last')))
  t.same(shown, ['second', 'Error: last'])
})
