// Parts far ahead of a download: fetched by themselves at once, within bounds, and never stored.
import { randomBytes } from 'node:crypto'
import t, { type Test } from 'tap'
import type { Found, Large } from '../../../src/cache/cache.ts'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import type { Digest } from '../../../src/oci/digest.ts'
import { addBlob, app, hashAll, minute, startSite, storedIn, until } from '../../helpers/cache.ts'
import { startTestGateway } from '../../helpers/gateway.ts'
import {
  flipByte,
  gate,
  ignoreRange,
  startUpstream,
  valveAfter,
  type Fault,
} from '../../helpers/upstream.ts'

const bytes = randomBytes(24 * 2 ** 20)
const far = 20 * 2 ** 20

/** Only what asks for everything, or only what asks for a part. */
function onWhole(fault: Fault): Fault {
  return (req, res) => req.headers.range === undefined && fault(req, res)
}
function onPart(fault: Fault): Fault {
  return (req, res) => req.headers.range !== undefined && fault(req, res)
}

/** A download of the blob that stands still after 600,000 bytes, until the valve is opened. */
async function startSlow(t: Test, ...faults: Fault[]) {
  const valve = valveAfter(600_000)
  const image = await buildSampleImage({ layerBytes: 1000 })
  const digest = addBlob(image, bytes)
  const site = await startSite(t, {
    image,
    faults: [onWhole(valve.fault), ...faults],
    stallTimeout: minute,
  })
  const parts = () => site.upstream.requests.flatMap(({ headers }) => headers.range ?? [])
  return { ...site, valve, digest, parts, follow: async () => follow(site, digest) }
}

async function follow(site: Awaited<ReturnType<typeof startSite>>, digest: Digest) {
  return large(await site.cache.blob(app, digest))
}

function large({ content }: Found): Large {
  if (content.kind !== 'large') throw new Error('small')
  return content
}

/** All from `from` to `to`, which must be there although the download stands still. */
async function readPart(content: Large, from: number, to: number): Promise<Buffer> {
  const all = Buffer.alloc(to - from)
  for (let position = from; position < to;) {
    const read = await content.read(all.subarray(position - from), position, to)
    if (read === 0) throw new Error('it ended')
    position += read
  }
  return all
}

t.test('the end of a layer comes at once, the download goes on', async (t) => {
  const { follow, valve, parts, events, digest, dir, counts, cache } = await startSlow(t)
  const whole = await follow()
  const lazy = await follow()
  const end = await readPart(lazy, far, bytes.length)
  t.ok(end.equals(bytes.subarray(far)))
  t.same(parts(), [`bytes=${far}-${bytes.length - 1}`])
  t.ok((await readPart(lazy, far - 9000, far)).equals(bytes.subarray(far - 9000, far)))
  t.same(parts()[1], `bytes=${far - 9000}-${far - 1}`, 'no more than is wanted')
  t.equal(lazy.isPassedOn?.(), true)
  lazy.close()
  t.same(storedIn(dir), [], 'nothing of it is stored')
  valve.open()
  t.equal(await hashAll({ content: whole, source: 'fill' }), digest)
  t.equal(whole.isPassedOn?.(), false)
  await until(() => counts.fills === 0)
  t.same(storedIn(dir), [digest])
  t.same(events, ['far_read', 'far_read'])
  t.equal((await cache.blob(app, digest)).source, 'disk')
})

t.test('where the download has come so far, it is read from there', async (t) => {
  const hold = gate()
  const { follow, valve, counts } = await startSlow(t, onPart(hold.fault))
  const lazy = await follow()
  const reading = lazy.read(Buffer.alloc(1000), far, far + 2000)
  await hold.held(1)
  valve.open()
  t.equal(await reading, 1000)
  t.equal(lazy.isPassedOn?.(), false)
  lazy.close()
  await until(() => counts.fills === 0)
})

t.test('what is near by bytes is far at the pace of a download that stands still', async (t) => {
  const { follow, parts } = await startSlow(t)
  const near = await follow()
  const part = await readPart(near, 4_000_000, 4_100_000)
  t.ok(part.equals(bytes.subarray(4_000_000, 4_100_000)))
  t.same(parts(), ['bytes=4000000-4099999'])
  near.close()
})

const unable: Record<string, Fault> = {
  'ignores Range': onPart(ignoreRange()),
  'sends another part': (req) => {
    if (req.headers.range !== undefined) req.headers.range = 'bytes=5-1000'
    return false
  },
}
for (const [name, fault] of Object.entries(unable)) {
  t.test(`an upstream that ${name}: it waits, and the next does not even ask`, async (t) => {
    const { follow, valve, parts, digest, upstream } = await startSlow(t, fault)
    const [one, two] = [await follow(), await follow()]
    const first = one.read(Buffer.alloc(1000), far, far + 1000)
    await until(() => parts().length === 1 || upstream.requests.length === 2)
    await new Promise((resolve) => {
      setTimeout(resolve, 100)
    })
    const second = two.read(Buffer.alloc(1000), far, far + 1000)
    valve.open()
    t.same(await Promise.all([first, second]), [1000, 1000])
    t.equal(upstream.requests.length, 2)
    t.equal(one.isPassedOn?.(), false)
    two.close()
    t.equal(await hashAll({ content: one, source: 'fill' }), digest)
  })
}

t.test('a part that breaks off is waited for', async (t) => {
  const { follow, valve, parts } = await startSlow(
    t,
    onPart((req, res) => {
      res.writeHead(206, {
        'content-range': `bytes ${far}-${far + 99_999}/${bytes.length}`,
        'content-length': 100_000,
      })
      res.write(bytes.subarray(far, far + 1000), () => req.socket.destroySoon())
      return true
    }),
  )
  const lazy = await follow()
  const reading = readPart(lazy, far, far + 100_000)
  await until(() => lazy.isPassedOn?.() === true)
  valve.open()
  t.ok((await reading).equals(bytes.subarray(far, far + 100_000)))
  t.equal(parts().length, 1)
  lazy.close()
})

t.test('four at once for one blob; the fifth has its turn when one leaves', async (t) => {
  const hold = gate()
  const { follow, parts } = await startSlow(t, onPart(hold.fault))
  const readers = await Promise.all(Array.from({ length: 5 }, follow))
  const reads = readers.map(async (reader, index) => {
    const from = far + index * 1000
    return readPart(reader, from, from + 1000).catch(() => undefined)
  })
  await hold.held(4)
  await new Promise((resolve) => {
    setTimeout(resolve, 100)
  })
  t.equal(parts().length, 4)
  readers[0]?.close()
  await until(() => parts().length === 5)
  hold.open()
  const bodies = await Promise.all(reads)
  t.equal(bodies.filter((body) => body !== undefined).length, 4)
  for (const reader of readers) reader.close()
})

t.test('a reader that leaves ends what is fetched for it', async (t) => {
  let isGone = false
  const { follow, parts } = await startSlow(
    t,
    onPart((req) => {
      req.socket.on('close', () => (isGone = true))
      return true
    }),
  )
  const lazy = await follow()
  const reading = lazy.read(Buffer.alloc(1000), far)
  await until(() => parts().length === 1)
  lazy.close()
  await t.rejects(async () => reading)
  await until(() => isGone, 'the exchange was ended')
})

t.test('where the download turns out to be wrong, what was passed on is broken off', async (t) => {
  const { follow, valve } = await startSlow(t, onWhole(flipByte(1_000_000)))
  const lazy = await follow()
  const broken: unknown[] = []
  lazy.onBroken?.((error) => void broken.push(error))
  await readPart(lazy, far, far + 1000)
  valve.open()
  await until(() => broken.length > 0)
  t.match(broken, [{ reason: 'digest_mismatch' }])
  await t.rejects(async () => lazy.read(Buffer.alloc(10), far + 1000), {
    code: 'UPSTREAM_FAILED',
    reason: 'digest_mismatch',
  })
  lazy.close()
})

t.test('over HTTP: one range, several, and the log says where they came from', async (t) => {
  const valve = valveAfter(600_000)
  const image = await buildSampleImage({ layerBytes: 1000 })
  const digest = addBlob(image, bytes)
  const upstream = await startUpstream(t, {
    repositories: { app: image },
    faults: [onWhole(valve.fault)],
  })
  const gateway = await startTestGateway(t, `upstreams: { hub: { url: '${upstream.url}' } }`)
  const path = `/v2/hub/app/blobs/${digest}`
  const tail = await gateway.send(path, { headers: { range: 'bytes=-1000' } })
  t.equal(tail.status, 206)
  t.ok(tail.body.equals(bytes.subarray(-1000)))
  t.match(await gateway.lastRequest(), { source: 'upstream', bytes: 1000 })
  const range = `bytes=${far}-${far + 9},0-9`
  const two = await gateway.send(path, { headers: { range } })
  t.equal(two.status, 206)
  t.ok(two.body.includes(bytes.subarray(far, far + 10)))
  t.ok(two.body.includes(bytes.subarray(0, 10)))
  t.match(await gateway.lastRequest(), { source: 'upstream' })
  const start = await gateway.send(path, { headers: { range: 'bytes=0-9' } })
  t.ok(start.body.equals(bytes.subarray(0, 10)))
  t.match(await gateway.lastRequest(), { source: 'fill' })
})
