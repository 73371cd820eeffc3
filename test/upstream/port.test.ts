// The port that the cache asks upstreams by: the real client and the stand-in of the tests keep the
// same promises.
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import type { Flow, OpenUpstream, OriginRequest } from '../../src/oci/origin.ts'
import { startUpstreams } from '../helpers/ask.ts'
import { createOrigin } from '../helpers/origin.ts'
import * as faults from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 3_000_000 })
const [digest, bytes] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] as [
  Digest,
  Buffer,
]
const request: OriginRequest = {
  upstream: 'up',
  method: 'GET',
  repository: 'app',
  resource: `blobs/${digest}`,
}

const implementations: Record<string, (t: Test, url: string) => OpenUpstream> = {
  'the upstream client': (t, url) => startUpstreams(t, { url }).open,
  'the stand-in': (_t, url) => createOrigin({ up: url }),
}

interface Told {
  events: string[]
  body: Buffer
  /** The receiver was called before it could have the flow. */
  isEarly: boolean
}

/** Asks, runs `react` at each event, and waits a while longer than until the end. */
async function ask(
  open: OpenUpstream,
  asked: Partial<OriginRequest> = {},
  react: (event: string, flow: Flow) => void = () => undefined,
): Promise<Told> {
  const told: Told = { events: [], body: Buffer.alloc(0), isEarly: false }
  const chunks: Buffer[] = []
  let flow: Flow | undefined
  await new Promise<void>((resolve) => {
    const quiet = (): void => void (timer = setTimeout(resolve, 300))
    let timer: NodeJS.Timeout | undefined
    const hear = (event: string): void => {
      clearTimeout(timer)
      quiet()
      if (told.events.at(-1) !== event || event !== 'data') told.events.push(event)
      if (flow === undefined) told.isEarly = true
      else react(event, flow)
    }
    flow = open(
      { ...request, ...asked },
      {
        start: ({ status }) => hear(`start ${status}`),
        data: (chunk) => {
          chunks.push(Buffer.from(chunk))
          hear('data')
        },
        end: () => hear('end'),
        fail: ({ code }) => hear(`fail ${code}`),
      },
    )
  })
  return { ...told, body: Buffer.concat(chunks) }
}

for (const [name, implement] of Object.entries(implementations)) {
  t.test(name, async (t) => {
    const upstream = await faults.startUpstream(t, { repositories: { app: image } })
    const open = implement(t, upstream.url)

    const whole = await ask(open)
    t.same(whole.events, ['start 200', 'data', 'end'])
    t.ok(whole.body.equals(bytes))
    t.notOk(whole.isEarly)

    const part = await ask(open, { from: 2_000_000 })
    t.same(part.events, ['start 206', 'data', 'end'])
    t.ok(part.body.equals(bytes.subarray(2_000_000)))

    t.same((await ask(open, { method: 'HEAD' })).events, ['start 200', 'end'])
    t.equal((await ask(open, { resource: `blobs/${digestOf('nothing')}` })).events[0], 'start 404')

    upstream.fail(faults.status(403))
    const refused = await ask(open)
    t.same([refused.events, refused.isEarly], [['fail DENIED'], false])

    const nobody = implement(t, 'http://127.0.0.1:1')
    const down = await ask(nobody)
    t.same([down.events, down.isEarly], [['fail UPSTREAM_FAILED'], false], 'not even to fail')

    upstream.fail(faults.closeAfter(700_000))
    t.same((await ask(open)).events, ['start 200', 'data', 'fail UPSTREAM_FAILED'])
    upstream.fail()

    for (const [at, events] of Object.entries({
      'start 200': ['start 200'],
      data: ['start 200', 'data'],
    })) {
      let calls = 0
      const aborted = await ask(open, {}, (event, flow) => {
        calls += 1
        if (event !== at) return
        flow.abort()
        flow.abort()
        flow.pause()
        flow.resume()
      })
      t.same(aborted.events, events, `nothing after an abort at ${at}`)
      t.equal(calls, events.length)
    }

    let heard = 0
    const paused = await ask(open, {}, (event, flow) => {
      if (event === 'data') heard += 1
      if (event === 'start 200') {
        flow.pause()
        setTimeout(() => {
          t.equal(heard, 0, 'no data while it is paused')
          flow.resume()
        }, 100)
      }
    })
    t.ok(paused.body.equals(bytes))
  })
}

t.test('the stand-in takes its chunks back', async (t) => {
  const upstream = await faults.startUpstream(t, { repositories: { app: image } })
  const kept: Buffer[] = []
  await new Promise<void>((resolve, reject) => {
    createOrigin({ up: upstream.url })(request, {
      start: () => undefined,
      data: (chunk) => void kept.push(chunk),
      end: resolve,
      fail: reject,
    })
  })
  t.notOk(Buffer.concat(kept).equals(bytes), 'who keeps a reference has other bytes')
})
