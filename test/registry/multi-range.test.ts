// Several ranges in one request, over real TLS: of small and of large content, cold and warm.
import t from 'tap'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import type { Digest } from '../../src/oci/digest.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { startUpstream } from '../helpers/upstream.ts'

const image = await buildSampleImage({ layerBytes: 1_500_000 })
const bySize = [...image.blobs].sort(([, a], [, b]) => b.length - a.length)
const small = bySize.find(([, { length }]) => length > 100 && length < 1000)
const blobs = [bySize[0], small] as [Digest, Buffer][]

/** The parts of a multipart body, as `first-last/size` and bytes. */
function partsIn(body: Buffer, type: string): [range: string, bytes: Buffer][] {
  const boundary = /boundary=(\S+)$/.exec(type)?.[1] ?? 'none'
  const parts = body.toString('latin1').split(`\r\n--${boundary}`)
  return parts.slice(1, -1).map((part) => {
    const [head = '', ...rest] = part.split('\r\n\r\n')
    const range = /content-range: bytes (\S+)/.exec(head)?.[1] ?? 'none'
    return [range, Buffer.from(rest.join('\r\n\r\n'), 'latin1')]
  })
}

t.test('each range is a part, in the order of the request', async (t) => {
  const upstream = await startUpstream(t, { repositories: { app: image } })
  const { send } = await startTestGateway(
    t,
    `upstreams: { up.test: { url: '${upstream.url}' } }\ndefaultUpstream: up.test`,
  )
  for (const [digest, bytes] of blobs) {
    const { length } = bytes
    const path = `/v2/app/blobs/${digest}`
    const last = length - 1
    for (const state of ['cold', 'warm']) {
      const headers = { range: `bytes=${last - 3}-${last}, 0-9,-5,20-29,${length}-` }
      const answer = await send(path, { headers })
      t.equal(answer.status, 206, `${length} bytes, ${state}`)
      t.equal(answer.headers['content-length'], String(answer.body.length))
      const parts = partsIn(answer.body, String(answer.headers['content-type']))
      const expected = [
        [last - 3, last],
        [0, 9],
        [last - 4, last],
        [20, 29],
      ] as const
      t.same(
        parts,
        expected.map(([from, to]) => [`${from}-${to}/${length}`, bytes.subarray(from, to + 1)]),
      )
    }
    const status = async (range: string) => {
      const { status: code, headers, body } = await send(path, { headers: { range } })
      return [code, headers['content-range'], body.length]
    }
    t.same(await status(`bytes=0-1,${length}-`), [206, `bytes 0-1/${length}`, 2], 'one is no list')
    t.equal((await status(`bytes=${length}-,${length + 5}-`))[0], 416)
    t.same(await status('bytes=0-,0-'), [200, undefined, length], 'more than there is')
    t.same(await status('bytes=0-1,x'), [200, undefined, length])
    const many = Array.from({ length: 1100 }, () => '0-0').join(',')
    t.same(await status(`bytes=${many}`), [200, undefined, length], 'too many')
  }
})
