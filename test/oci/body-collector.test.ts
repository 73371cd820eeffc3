import t from 'tap'
import { collectBody } from '../../src/oci/body-collector.ts'

t.test('a body within the limit is kept whole, from a buffer that is used again', async (t) => {
  const body = collectBody(8)
  const buffer = Buffer.from('abcd')
  t.equal(body.add(buffer), 4)
  buffer.write('efgh')
  t.equal(body.add(buffer), 8)
  t.equal(body.bytes().toString(), 'abcdefgh')
})

t.test('what is over the limit is counted and not kept', async (t) => {
  const body = collectBody(5)
  t.equal(body.add(Buffer.from('abcd')), 4)
  t.equal(body.add(Buffer.from('efgh')), 8)
  t.equal(body.add(Buffer.from('ijkl')), 12)
  t.equal(body.bytes().toString(), 'abcde')
})

t.test('nothing is kept where nothing may be', async (t) => {
  const body = collectBody(0)
  t.equal(body.add(Buffer.from('a')), 1)
  t.equal(body.bytes().length, 0)
})

t.test('what stays for long takes no more memory than its bytes', async (t) => {
  const body = collectBody(100)
  body.add(Buffer.from('abcd'))
  body.add(Buffer.from('efgh'))
  t.equal(body.bytes().buffer.byteLength, 8)
})
