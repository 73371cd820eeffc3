// The seam between cache and HTTP: what of a body leaves, counted on the wire as it arrives.
import { createHash } from 'node:crypto'
import { utimesSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../src/oci/digest.ts'
import { storedIn, until } from '../helpers/cache.ts'
import { startTestGateway, type SendOptions, type TestGateway } from '../helpers/gateway.ts'
import { countDescriptors } from '../helpers/limits.ts'
import * as faults from '../helpers/upstream.ts'
import { optionsFor } from '../requirements.ts'

const image = await buildSampleImage({ layerBytes: 1_500_000 })
const [large, bytes] = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)[0] as [
  Digest,
  Buffer,
]
const nothing = digestOf('')
const nothing512 = digestOf('', 'sha512')
for (const digest of [nothing, nothing512]) image.blobs.set(digest, Buffer.alloc(0))
const pathOf = (digest: string) => `/v2/team/app/blobs/${digest}`

async function start(t: Test, ...list: faults.Fault[]) {
  const upstream = await faults.startUpstream(t, {
    repositories: { 'team/app': image },
    faults: list,
  })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.test: { url: '${upstream.url}' } }\ndefaultUpstream: registry.test`,
  )
  return { upstream, ...gateway }
}

interface Received {
  status: number
  length: number
  hash: string
  /** HTTP says that this is all of it. */
  isComplete: boolean
}

/** What arrives, however it ends. */
async function receive(
  { open }: Pick<TestGateway, 'open'>,
  path: string,
  options?: SendOptions,
): Promise<Received> {
  const response = await open(path, options)
  const hash = createHash('sha256')
  let length = 0
  response.on('data', (chunk: Buffer) => {
    length += chunk.length
    hash.update(chunk)
  })
  return new Promise((resolve) => {
    response.on('error', () => undefined)
    response.on('close', () =>
      resolve({
        status: response.statusCode ?? 0,
        length,
        hash: hash.digest('hex'),
        isComplete: response.complete,
      }),
    )
  })
}

const onBlob = (...list: faults.Fault[]) => faults.on(/blobs/, ...list)
const nothingLeft = faults.replaceBody(Buffer.alloc(0))

/** All of them answer no bytes at all where 1.5 MB are wanted. */
const empties: Record<string, faults.Fault[]> = {
  'Content-Length: 0': [faults.status(200)],
  chunked: [faults.chunked(), nothingLeft],
  'close-delimited': [faults.closeDelimited(), nothingLeft],
  '206 of no bytes': [faults.status(206, { 'content-range': 'bytes 0-0/0' })],
  '206 without a range': [faults.status(206)],
  '206 with a range of no bytes': [faults.status(206, { 'content-range': 'bytes */0' })],
}
const ways: Record<string, SendOptions> = {
  whole: {},
  'all from 0 on': { headers: { range: 'bytes=0-' } },
  'the first bytes': { headers: { range: 'bytes=0-99' } },
  'the last byte': { headers: { range: 'bytes=-1' } },
}

for (const [name, list] of Object.entries(empties)) {
  t.test(`an empty body is no blob: ${name}`, async (t) => {
    const gateway = await start(t, onBlob(...list))
    for (const [way, options] of Object.entries(ways)) {
      const { status, isComplete } = await receive(gateway, pathOf(large), options)
      t.ok(status === 502 || !isComplete, `${way}: ${status}`)
    }
    gateway.upstream.fail()
    const { hash } = await receive(gateway, pathOf(large))
    t.equal(`sha256:${hash}`, large, 'nothing of it is kept')
  })
}

t.test('a HEAD is not told the length of an empty answer', async (t) => {
  const gateway = await start(t, onBlob(faults.status(200)))
  t.match(await gateway.send(pathOf(large), { method: 'HEAD' }), { status: 502 })
  gateway.upstream.fail(faults.on(/^HEAD/, faults.status(200)))
  t.match(await gateway.send(pathOf(large), { method: 'HEAD' }), {
    status: 200,
    headers: { 'content-length': String(bytes.length) },
  })
})

t.test('an empty answer where a download goes on: asked again', async (t) => {
  const gateway = await start(
    t,
    onBlob(
      faults.times(1, faults.closeAfter(700_000)),
      faults.times(
        1,
        (req, res) => req.headers.range !== undefined && faults.status(200)(req, res),
      ),
    ),
  )
  t.match(await receive(gateway, pathOf(large)), { length: bytes.length, isComplete: true })
})

t.test('the empty blob itself, cold and warm, however the upstream frames it', async (t) => {
  const frames: faults.Fault[][] = [[], [faults.chunked()], [faults.closeDelimited()]]
  for (const frame of frames) {
    for (const digest of [nothing, nothing512]) {
      const gateway = await start(t, onBlob(...frame))
      const head = { status: 200, headers: { 'content-length': '0' } }
      t.match(await gateway.send(pathOf(digest), { method: 'HEAD' }), head)
      for (const when of ['cold', 'warm']) {
        const got = await receive(gateway, pathOf(digest))
        t.match(got, { status: 200, length: 0, isComplete: true }, `${when} ${digest}`)
      }
      t.match(await gateway.send(pathOf(digest), { method: 'HEAD' }), head)
      const range = { headers: { range: 'bytes=0-' } }
      t.match(await gateway.send(pathOf(digest), range), { status: 416 })
    }
  }
})

t.test('of a wrong blob never all bytes arrive', async (t) => {
  const frames: faults.Fault[][] = [[], [faults.chunked()]]
  for (const frame of frames) {
    for (const offset of [1_000_000, bytes.length - 1]) {
      const gateway = await start(t, onBlob(...frame, faults.flipByte(offset)))
      for (const [way, options] of Object.entries(ways)) {
        const { status, length, isComplete } = await receive(gateway, pathOf(large), options)
        t.ok(way === 'the first bytes' || !isComplete || status === 502, `${way} is not complete`)
        t.ok(length < bytes.length, `${way}: ${length} bytes`)
      }
    }
  }
})

t.test('a part of a page with 200 is a failure of the upstream, not of the range', async (t) => {
  const gateway = await start(t, onBlob(faults.htmlPage()))
  for (const range of ['bytes=1000000-', 'bytes=0-1,900000-']) {
    const answer = await gateway.send(pathOf(large), { headers: { range } })
    t.not(answer.status, 416)
    t.ok([206, 502].includes(answer.status), `${answer.status}`)
  }
  gateway.upstream.fail()
  const beyond = { headers: { range: 'bytes=9000000-' } }
  t.match(await gateway.send(pathOf(large), beyond), { status: 416, code: 'RANGE_INVALID' })
})

t.test('an upstream that stops for good: the client is told', async (t) => {
  const gateway = await start(t, onBlob(faults.closeAfter(700_000), faults.ignoreRange()))
  const { length, isComplete } = await receive(gateway, pathOf(large))
  t.notOk(isComplete)
  t.ok(length < bytes.length, `${length} bytes`)
})

t.test('every answer gives its descriptor back', optionsFor('storing'), async (t) => {
  const gateway = await start(t)
  await receive(gateway, pathOf(large))
  await until(() => storedIn(join(gateway.folder, 'cache')).length === 1)
  const file = join(gateway.folder, 'cache/blobs', large.replace(':', `/${large.slice(7, 9)}/`))
  const answers: Record<string, [number, SendOptions]> = {
    whole: [200, {}],
    'a part': [206, { headers: { range: 'bytes=10-19' } }],
    'known already': [304, { headers: { 'if-none-match': '*' } }],
    'no such part': [416, { headers: { range: 'bytes=9000000-' } }],
  }
  for (const [what, [status, options]] of Object.entries(answers)) {
    t.equal((await receive(gateway, pathOf(large), options)).status, status, what)
    const before = countDescriptors()
    for (let round = 1; round <= 10; round += 1) {
      // Another time: the file that is open is given up for one that has been looked at again.
      utimesSync(file, round, round)
      await receive(gateway, pathOf(large), options)
    }
    await until(() => countDescriptors() <= before + 2, `${what}: the descriptors of before`)
  }
})
