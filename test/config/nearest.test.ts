import t from 'tap'
import { nearestTo } from '../../src/config/nearest.ts'

const cases: [word: string, candidates: string[], nearest: string[]][] = [
  ['certt', ['cert', 'key', 'clientCa'], ['cert']],
  ['client', ['clientAuth', 'clientCa', 'crl'], ['clientAuth', 'clientCa']],
  ['tagTLL', ['tagTtl', 'proxy'], ['tagTtl']],
  ['hst', ['host', 'port'], ['host']],
  ['zzzzzz', ['host', 'port'], []],
]

t.test('what somebody may have meant', async (t) => {
  for (const [word, candidates, nearest] of cases) {
    t.same(nearestTo(word, candidates), nearest, word)
  }
})
