import t from 'tap'
import { matchesEtag, parseRange } from '../../src/oci/range.ts'

t.test('one range of bytes, in all three forms', async (t) => {
  t.same(parseRange('bytes=0-', 10), { first: 0, last: 9 })
  t.same(parseRange('bytes=2-5', 10), { first: 2, last: 5 })
  t.same(parseRange('bytes=5-5', 10), { first: 5, last: 5 })
  t.same(parseRange('bytes=2-500', 10), { first: 2, last: 9 })
  t.same(parseRange('bytes=-3', 10), { first: 7, last: 9 })
  t.same(parseRange('bytes=-30', 10), { first: 0, last: 9 })
})

t.test('a range that no byte is in is unsatisfiable', async (t) => {
  t.equal(parseRange('bytes=10-', 10), 'unsatisfiable')
  t.equal(parseRange('bytes=-0', 10), 'unsatisfiable')
  t.equal(parseRange('bytes=0-', 0), 'unsatisfiable')
})

t.test('what RFC 9110 lets a server ignore is ignored', async (t) => {
  for (const header of [undefined, 'items=0-1', 'bytes=0-1,3-4', 'bytes=-', 'bytes=5-2', 'x']) {
    t.equal(parseRange(header, 10), 'all', String(header))
  }
})

t.test('without a size only the kind of answer is known', async (t) => {
  t.equal(parseRange('bytes=1-', undefined), 'unknown')
  t.equal(parseRange('bytes=5-2', undefined), 'all')
})

t.test('If-None-Match holds lists, weak tags and the asterisk', async (t) => {
  t.ok(matchesEtag('"a", W/"b"', '"b"'))
  t.ok(matchesEtag('*', '"b"'))
  t.notOk(matchesEtag('"a"', '"b"'))
})
