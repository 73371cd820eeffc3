// What readers of a download have on loan from its file: read once for all who are at the same place.
import { closeSync, openSync, writeSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { createRereads } from '../../../src/cache/fill/rereads.ts'

const size = 256 * 1024
const bytes = randomBytes(3 * size)

t.test('one read for those at the same place, as long as one of them has it', async (t) => {
  const fd = openSync(join(t.testdir(), 'file'), 'w+')
  t.teardown(() => closeSync(fd))
  writeSync(fd, bytes)
  const lend = createRereads(fd)
  const first = lend(1000, 2 * size)
  t.ok(first.bytes.equals(bytes.subarray(1000, size)), 'to where all meet')
  // Whoever reads again would see this.
  writeSync(fd, Buffer.alloc(3 * size), 0, 3 * size, 0)
  const second = lend(2000, 3000)
  t.ok(second.bytes.equals(bytes.subarray(2000, 3000)), 'not more than may be read')
  first.giveBack()
  const third = lend(1000, 2 * size)
  t.equal(third.bytes.buffer, first.bytes.buffer)
  second.giveBack()
  third.giveBack()
  const fourth = lend(1000, 2 * size)
  t.ok(fourth.bytes.equals(Buffer.alloc(size - 1000)), 'and again when nobody has it')
  t.not(lend(500, 1000).bytes.buffer, fourth.bytes.buffer, 'what is before it is another one')
})

t.test('a file that ends early is told, to each who asks', async (t) => {
  const fd = openSync(join(t.testdir(), 'file'), 'w+')
  t.teardown(() => closeSync(fd))
  const lend = createRereads(fd)
  t.throws(() => lend(0, size))
  t.throws(() => lend(0, size))
})
