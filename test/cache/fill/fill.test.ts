// A download that has ended: nobody joins what is about to be closed.
import { openSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startFill } from '../../../src/cache/fill/fill.ts'
import { digestOf } from '../../../src/oci/digest.ts'
import type { OpenUpstream } from '../../../src/oci/origin.ts'
import { app } from '../../helpers/cache.ts'

t.test('a download that has ended cannot be joined', async (t) => {
  const bytes = Buffer.alloc(1_000_000, 'x')
  const openUpstream: OpenUpstream = (_request, receiver) => {
    setImmediate(() => {
      receiver.start({ status: 200, headers: { 'content-length': String(bytes.length) } })
      receiver.data(bytes)
      receiver.end()
    })
    return { pause: () => undefined, resume: () => undefined, abort: () => undefined }
  }
  let isJoinable: boolean | undefined
  const fill = startFill({
    openUpstream,
    place: app,
    digest: digestOf(bytes),
    retryDelay: 10,
    draft: () => ({
      fd: openSync(join(t.testdir(), 'file'), 'wx+'),
      publish: async () => ({ size: bytes.length, mtime: 0 }),
      discard: async () => undefined,
    }),
    onVerified: () => undefined,
    // In the order of things this comes after the file is closed, and before anybody hears of the end.
    onStored() {
      queueMicrotask(() => void (isJoinable = fill.isJoinable()))
    },
    onStoringFailed: (error) => t.error(error),
    mayGoOnUnread: () => true,
    onFarRead: () => undefined,
    onLeftBehind: () => undefined,
  })
  t.ok(fill.isJoinable())
  await fill.ended
  t.equal(isJoinable, false)
})
