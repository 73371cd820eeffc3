// A stored file that cannot be read after all: what fails at its first byte goes on with a download.
import { mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import type { Large } from '../../../src/cache/cache.ts'
import { readerOf } from '../../../src/cache/disk/open-file.ts'
import { withRefill } from '../../../src/cache/disk/refill.ts'
import { digestOf } from '../../../src/oci/digest.ts'

const facts = { kind: 'large' as const, digest: digestOf('x'), mediaType: 'a/b', size: 2000 }

/** Gives `byte` a thousand times, or fails from `failsAt` on. */
function content(byte: string, isLater: boolean, failsAt = Infinity): Large & { closed: number } {
  const read = (buffer: Buffer, position: number): number => {
    if (position >= failsAt) throw new Error('EIO')
    return position >= 2000 ? 0 : buffer.fill(byte, 0, 1000) && 1000
  }
  return {
    ...facts,
    closed: 0,
    read: isLater ? async (buffer, position) => read(buffer, position) : read,
    close() {
      this.closed += 1
    },
  }
}

for (const isLater of [false, true]) {
  t.test(isLater ? 'later' : 'at once', async (t) => {
    const buffer = Buffer.alloc(1000)
    const [bad, good] = [content('x', isLater, 0), content('0', isLater)]
    const first = withRefill(bad, async () => ({ content: good }))
    t.equal(await first.read(buffer, 500), 1000)
    t.equal(buffer.toString(), '0'.repeat(1000))
    t.equal(await first.read(buffer, 1500), 1000)
    first.close()
    t.same([bad.closed, good.closed], [1, 1])

    const half = withRefill(content('x', isLater, 1000), async () => ({ content: good }))
    t.equal(await half.read(buffer, 0), 1000)
    await t.rejects(
      async () => half.read(buffer, 1000),
      { message: /EIO/ },
      'nobody gets two halves',
    )

    const none = withRefill(content('x', isLater, 0), async () => Promise.reject(new Error('away')))
    await t.rejects(async () => none.read(buffer, 0), { message: /away/ })
    await t.rejects(async () => none.read(buffer, 0), { message: /EIO/ })
  })
}

t.test('who leaves while the download begins is told so, and leaves it', async (t) => {
  const [bad, good] = [content('x', true, 0), content('0', true)]
  const started = Promise.withResolvers<{ content: Large }>()
  const reader = withRefill(bad, async () => started.promise)
  const read = Promise.resolve(reader.read(Buffer.alloc(1000), 0))
  await setImmediate()
  reader.close()
  started.resolve({ content: good })
  await t.rejects(read)
  t.equal(good.closed, 1)
})

t.test('an error of the file system is told as what it is', async (t) => {
  const folder = join(t.testdir(), 'no-file')
  mkdirSync(folder)
  const fd = openSync(folder, 'r')
  const told: unknown[] = []
  const state = { users: 0, isDropped: true, warm: 0, warmAt: 0, mtime: 0, inode: 0 }
  const cold = { ...facts, ...state, fd }
  const reader = readerOf(cold, (error) => void told.push(error))
  await t.rejects(async () => reader.read(Buffer.alloc(10), 0), { message: /cannot be read/ })
  cold.warm = 2000
  cold.warmAt = performance.now()
  t.throws(() => reader.read(Buffer.alloc(10), 0), /cannot be read/)
  t.match(told, [{ code: 'EISDIR' }, { code: 'EISDIR' }])
  reader.close()
})
