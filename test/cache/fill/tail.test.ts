// The end of a download whose file takes no more: what is in the file, in memory, and gone.
import { createHash } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createTail } from '../../../src/cache/fill/tail.ts'
import { limitFiles } from '../../helpers/limits.ts'
import { optionsFor } from '../../requirements.ts'

const stage = 256 * 1024

t.test('what is small and stays in memory takes no more than its bytes', async (t) => {
  const nothing = () => undefined
  for (const size of [undefined, 3000]) {
    const tail = createTail({
      fd: undefined,
      hash: createHash('sha256'),
      size,
      smallLimit: stage,
      onFlush: nothing,
      onRoom: nothing,
      neededFrom: () => Infinity,
      onStoringFailed: nothing,
    })
    tail.append(Buffer.alloc(3000, 'x'))
    tail.flush()
    const whole = tail.whole()
    t.equal(whole?.toString(), 'x'.repeat(3000))
    t.equal(whole?.buffer.byteLength, 3000, `of ${size ?? 'unknown'} bytes`)
  }
})

t.test('storing fails in the fourth stage', optionsFor('storing'), async (t) => {
  const fd = openSync(join(t.testdir(), 'file'), 'wx+')
  t.teardown(() => closeSync(fd))
  const bytes = createHash('shake256', { outputLength: 12 * stage })
    .update('tail')
    .digest()
  const failures: unknown[] = []
  let neededFrom = 0
  const tail = createTail({
    fd,
    hash: createHash('sha256'),
    size: bytes.length,
    smallLimit: 0,
    onFlush: () => undefined,
    onRoom: () => undefined,
    neededFrom: () => neededFrom,
    onStoringFailed: (error) => void failures.push(error),
  })
  t.teardown(limitFiles(3 * stage))
  const read = async (position: number) => {
    const buffer = Buffer.alloc(1000)
    const count = await tail.read(buffer, position, bytes.length)
    return buffer.subarray(0, count)
  }
  const part = (position: number) => bytes.subarray(position, position + 1000)

  for (let at = 0; at < 3; at += 1) {
    tail.append(bytes.subarray(at * stage, (at + 1) * stage))
    await tail.settled()
  }
  tail.append(bytes.subarray(3 * stage, 5 * stage))
  await tail.settled()
  t.match(failures, [{ code: 'EFBIG' }])
  t.notOk(tail.isStoring())
  t.notOk(tail.hasGap(), 'the file ends where memory begins')
  for (const position of [0, 2 * stage + 5, 3 * stage - 1000, 3 * stage, 5 * stage - 1000]) {
    t.notOk(tail.isGone(position))
    t.ok((await read(position)).equals(part(position)), `at ${position}`)
  }

  neededFrom = 5 * stage
  tail.moved()
  t.ok(tail.hasGap(), 'nobody needed it, and it is nowhere')
  t.ok(tail.isGone(3 * stage))
  t.notOk(tail.isGone(3 * stage - 1))
  t.ok((await read(stage)).equals(part(stage)), 'what is in the file stays')
  tail.append(bytes.subarray(5 * stage, 6 * stage))
  t.ok((await read(5 * stage)).equals(part(5 * stage)))
})
