// Room is asked for before a download is read: what comes meanwhile waits, and is not told to whoever has gone.
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { createAdmission } from '../../../src/cache/fill/admission.ts'
import type { Flow, OpenUpstream, Receiver } from '../../../src/oci/origin.ts'
import { app } from '../../helpers/cache.ts'

/** Sends all of a small blob although it was told to wait, as what has come with the headers does. */
function openWith(onStart: (flow: Flow) => void) {
  const calls: string[] = []
  const told: string[] = []
  const openUpstream: OpenUpstream = (_request, to) => {
    queueMicrotask(() => {
      to.start({ status: 200, headers: {} })
      to.data(Buffer.from('one'))
      to.data(Buffer.from('two'))
      to.end()
    })
    return {
      pause: () => void calls.push('pause'),
      resume: () => void calls.push('resume'),
      abort: () => void calls.push('abort'),
    }
  }
  const room = Promise.withResolvers<undefined>()
  const admission = createAdmission(openUpstream, async () => room.promise)
  const receiver: Receiver = {
    start() {
      told.push('start')
      onStart(flow)
    },
    data: (chunk) => void told.push(chunk.toString()),
    end: () => void told.push('end'),
    fail: () => void told.push('fail'),
  }
  const request = { ...app, method: 'GET', resource: 'blobs/x' } as const
  const flow = admission.open(request, receiver)
  return { calls, told, makeRoom: () => room.resolve(undefined) }
}

t.test('what has come waits until it is known whether there is room', async (t) => {
  const { calls, told, makeRoom } = openWith(() => undefined)
  await setImmediate()
  t.same([told, calls], [[], ['pause']])
  makeRoom()
  await setImmediate()
  t.same(told, ['start', 'one', 'two', 'end'])
  t.same(calls, ['pause', 'resume'])
})

t.test('who ends it at its beginning hears nothing more', async (t) => {
  const { calls, told, makeRoom } = openWith((flow) => flow.abort())
  await setImmediate()
  makeRoom()
  await setImmediate()
  t.same(told, ['start'])
  t.same(calls, ['pause', 'abort'])
})
