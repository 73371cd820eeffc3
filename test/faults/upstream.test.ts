// Faults of an upstream: what it answers, and how it stops in the middle.
import * as faults from '../helpers/upstream.ts'
import { fault, layer, layerPath, manifestPath, smallPath } from './site.ts'

const half = layer.bytes.length / 2
const whole = { status: 200, bytes: layer.bytes.length, isWhole: true, digest: layer.digest }

/** Nobody notices. Offsets of manifests are lower: a fault of blobs leaves them alone. */
const survived: Record<string, faults.Fault[]> = {
  'FIN after N bytes': [cutBoth(faults.closeAfter)],
  'RST after N bytes': [cutBoth(faults.resetAfter)],
  'close-delimited truncation': [faults.closeDelimited(), cutBoth(faults.closeAfter)],
  'a chunked body that ends early': [faults.chunked(), cutBoth(faults.closeAfter)],
  'a body that stalls': [cutBoth(faults.stallAfter)],
  'headers that stall': [faults.times(2, faults.stallBeforeHeaders())],
  'a burst of 503': [faults.times(2, faults.status(503))],
  'a burst of 502 and 504': [
    faults.times(1, faults.status(502)),
    faults.times(1, faults.status(504)),
  ],
  '429 with a sane Retry-After': [faults.times(1, faults.status(429, { 'retry-after': '1' }))],
}

for (const [name, list] of Object.entries(survived)) {
  fault(name, async (t, { send, pull, upstream }) => {
    upstream.fail(...list)
    t.equal((await send(manifestPath)).status, 200)
    t.same(await pull(layerPath), whole)
    if (/FIN|RST/.test(name)) {
      t.ok(
        upstream.requests.some(({ headers }) => headers.range !== undefined),
        'it goes on',
      )
    }
  })
}

/** Half of the layer, and some bytes of a manifest: once each. */
function cutBoth(cut: (bytes: number) => faults.Fault): faults.Fault {
  const each = [
    faults.on(/blobs/, faults.times(1, cut(half))),
    faults.on(/^GET .*manifests/, faults.times(1, cut(20))),
  ]
  return (req, res) => each.some((one) => one(req, res))
}

const broken: Record<string, faults.Fault[]> = {
  'a flipped bit': [faults.flipByte(20)],
  'a flipped last bit': [
    faults.on(/blobs/, faults.flipByte(layer.bytes.length - 1)),
    faults.on(/manifests/, faults.htmlPage()),
  ],
  'a flipped bit in a body without a length': [faults.closeDelimited(), faults.flipByte(20)],
  'a Content-Length that is too large': [
    faults.on(
      /manifests/,
      faults.lyingLength((length) => length + 1000),
    ),
    faults.on(
      /blobs/,
      faults.lyingLength((length) => length - 1),
    ),
  ],
  'a Content-Length that is too small': [faults.lyingLength((length) => length - 10)],
  'an upstream that hangs up': [(req) => req.socket.destroy().destroyed],
  'an upstream that never answers': [faults.stallBeforeHeaders()],
  '500 and nothing else': [faults.status(500)],
  '503 and nothing else': [faults.status(503)],
}

for (const [name, list] of Object.entries(broken)) {
  fault(name, async (t, { send, pull, upstream }) => {
    t.equal((await pull(smallPath)).status, 200, 'before')
    upstream.fail(...list)
    const [manifest, blob] = await Promise.all([send(manifestPath), pull(layerPath)])
    t.ok([502, 504].includes(manifest.status), `a manifest is ${manifest.status}`)
    t.ok([200, 502, 504].includes(blob.status), `a blob is ${blob.status}`)
    if (blob.status === 200) t.notOk(blob.isWhole, 'nobody completes a wrong body')
    t.equal((await pull(smallPath)).status, 200, 'what the cache holds is served')
  })
}

fault('429 with an absurd Retry-After', async (t, { send, pull, upstream }) => {
  for (const retryAfter of ['99999999999', 'Fri, 31 Dec 9999 23:59:59 GMT', '-1', 'soon']) {
    upstream.fail(faults.status(429, { 'retry-after': retryAfter }))
    const { status, headers } = await send(manifestPath)
    t.equal(status, 429, retryAfter)
    t.equal((await pull(layerPath)).status, 429, retryAfter)
    const told = Number(headers['retry-after'] ?? 0)
    t.ok(told <= 86_400, `${told} seconds`)
  }
})
