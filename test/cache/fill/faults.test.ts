// What an upstream can do wrong in the middle of a blob: nobody completes a wrong body.
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { buildSampleImage } from '../../../src/demo/sample-image.ts'
import {
  addBlob,
  app,
  hashAll,
  largest,
  readAll,
  startSite,
  storedIn,
  until,
  untilNothingTemporary,
} from '../../helpers/cache.ts'
import * as faults from '../../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 2_000_000 })
const encoded = gzipSync(largest(image)[1])

const onGet = (...list: faults.Fault[]) => faults.on(/^GET .*blobs/, ...list)

function forPart(fault: faults.Fault): faults.Fault {
  return (req, res) => req.headers.range !== undefined && fault(req, res)
}

/** Each breaks the first two connections; the download goes on or starts over, and is right. */
const survived: Record<string, faults.Fault[]> = {
  'FIN, resumed by Range': [faults.times(2, faults.closeAfter(700_000))],
  RST: [faults.times(2, faults.resetAfter(700_000))],
  'FIN before the first byte': [faults.times(2, faults.closeAfter(0))],
  'a stall': [faults.times(2, faults.stallAfter(700_000))],
  'FIN, starting over with 200': [
    faults.ignoreRange(),
    faults.times(2, faults.closeAfter(700_000)),
  ],
  'chunked, cut off': [faults.chunked(), faults.times(2, faults.closeAfter(700_000))],
  'without a length, cut off as if it had ended': [
    faults.closeDelimited(),
    faults.times(1, faults.closeAfter(700_000)),
  ],
  'without a length, cut off, starting over': [
    faults.closeDelimited(),
    faults.ignoreRange(),
    faults.times(1, faults.closeAfter(700_000)),
  ],
  ...Object.fromEntries(
    [401, 403, 404, 416].map((code) => [
      `a part answered ${code}`,
      [faults.times(1, faults.closeAfter(700_000)), forPart(faults.status(code))],
    ]),
  ),
  'a part of no bytes': [
    faults.times(1, faults.closeAfter(700_000)),
    forPart(faults.status(206, { 'content-range': 'bytes 0-0/0' })),
  ],
  'an encoding that is only a label': [
    faults.withHeaders({ 'content-encoding': 'x-gzip' }),
    faults.times(2, faults.closeAfter(700_000)),
  ],
  'a 503 in between': [
    faults.times(1, faults.closeAfter(700_000)),
    forPart(faults.times(1, faults.status(503))),
  ],
}

for (const [name, list] of Object.entries(survived)) {
  t.test(`survived: ${name}`, async (t) => {
    const { image, cache, upstream, dir } = await startSite(t, { faults: [onGet(...list)] })
    const [digest, bytes] = largest(image)
    const found = await cache.blob(app, digest)
    t.ok((await readAll(found)).equals(bytes))
    await until(() => storedIn(dir).length === 1)
    t.ok(upstream.count(/^GET/) >= 2, 'it was cut')
    await untilNothingTemporary(dir)
  })
}

/** Each cannot be survived, and never do all bytes reach the client. */
const failing: Record<
  string,
  { list: faults.Fault[]; reason: string | RegExp; early?: boolean; sent?: number }
> = {
  'an altered byte': { list: [faults.flipByte(1_000_000)], reason: 'digest_mismatch' },
  'an altered last byte': { list: [faults.flipByte(2_000_000)], reason: 'digest_mismatch' },
  'altered without a length': {
    list: [faults.chunked(), faults.flipByte(1_000_000)],
    reason: 'digest_mismatch',
  },
  'another beginning after a cut': {
    list: [faults.ignoreRange(), faults.times(1, faults.closeAfter(700_000)), faults.flipByte(10)],
    reason: 'digest_mismatch',
  },
  'always cut before the first byte': { list: [faults.closeAfter(0)], reason: /./ },
  'an encoded body': { list: [faults.gzipEncoded()], reason: 'bad_response', sent: encoded.length },
  'a web page': { list: [faults.htmlPage()], reason: 'digest_mismatch' },
  'no bytes at all': { list: [faults.status(200)], reason: 'digest_mismatch', early: true },
  'errors only': { list: [faults.status(503)], reason: 'http_5xx', early: true },
}

for (const [name, { list, reason, early, sent }] of Object.entries(failing)) {
  t.test(`failing: ${name}`, async (t) => {
    const { image, cache, upstream, dir, counts } = await startSite(t, { faults: [onGet(...list)] })
    const [digest, bytes] = largest(image)
    const expected = { name: 'GatewayError', reason }
    if (early === true) await t.rejects(async () => cache.blob(app, digest), expected)
    else {
      const found = await cache.blob(app, digest)
      let received = 0
      const counting = readAll(found, 0, 64 * 1024, (count) => (received += count))
      await t.rejects(counting, expected)
      t.ok(received < (sent ?? bytes.length), `${received} of ${bytes.length} bytes`)
    }
    await until(() => counts.fills === 0)
    t.same(storedIn(dir), [])
    await untilNothingTemporary(dir)
    upstream.fail()
    t.ok((await readAll(await cache.blob(app, digest))).equals(bytes), 'the next pull works')
  })
}

t.test('a small blob that is wrong is not kept in memory either', async (t) => {
  const { image, cache, upstream } = await startSite(t, { faults: [onGet(faults.flipByte(3))] })
  const digest = addBlob(image, Buffer.from('a small blob'))
  await t.rejects(readAll(await cache.blob(app, digest)), {
    name: 'GatewayError',
    reason: 'digest_mismatch',
  })
  upstream.fail()
  t.equal(await hashAll(await cache.blob(app, digest)), digest)
})
