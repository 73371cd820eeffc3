// Requests that no client would send, over raw TLS: each gets one answer or a closed connection,
// never two, never another's, and never a failure of the gateway's own.
import * as fc from 'fast-check'
import t from 'tap'
import { nothingLeaked, startSite } from '../threats/site.ts'

const methods = ['GET', 'HEAD', 'POST', 'QUERY', 'get', 'G T', '', 'CONNECT', 'OPTIONS', 'PRI']
const targets = [
  '/v2/',
  '/v2/none/manifests/1.0',
  '/v2/none/blobs/sha256:00',
  '/v2/_catalog?n=1',
  '/token?service=x',
  '*',
  'http://localhost/v2/',
  'http://other.example/v2/',
  'localhost:443',
  '/v2/%2e%2e/tags/list',
  '//v2/',
  '/v2/\u00ff',
  '',
]
const versions = ['HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/0.9', 'http/1.1', 'HTTP/1.1 x', '']
const headers = [
  'Host: localhost',
  'Host: other',
  'host:localhost',
  'Host : localhost',
  'Content-Length: 0',
  'Content-Length: 5',
  'Content-Length: -1',
  'Content-Length: 5, 6',
  'Content-Length: +5',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding:\tchunked',
  'Authorization: Bearer QQ==',
  'Authorization: Basic YTpi',
  'Range: bytes=0-1',
  'Range: bytes=1-0',
  'Expect: 100-continue',
  'Upgrade: h2c',
  'Connection: upgrade, HTTP2-Settings',
  'X: a\r\n b',
  'X: \u0000',
  'X',
  ': x',
  'Accept: */*',
  `X: ${'a'.repeat(4000)}`,
]
const breaks = ['\r\n', '\n', '\r', '\r\n\r\n', '\r\r\n']
const bodies = [
  '',
  'hello',
  '5\r\nhello\r\n0\r\n\r\n',
  '0\r\n\r\n',
  'GET /v2/ HTTP/1.1\r\n',
  '\u0000',
]

const pick = <T>(list: readonly T[], usual: T) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, fc.constantFrom(...list))

const request = fc
  .tuple(
    pick(methods, 'GET'),
    pick(targets, '/v2/'),
    pick(versions, 'HTTP/1.1'),
    fc.array(fc.constantFrom(...headers), { maxLength: 5 }),
    pick(breaks, '\r\n'),
    pick(bodies, ''),
  )
  .map(([method, target, version, lines, end, body]) =>
    [`${method} ${target} ${version}`, 'Host: localhost', ...lines, '', body].join(end),
  )

/** The answers in `text`, read by their lengths; throws where something else stands between. */
function answersIn(text: string, methods: readonly string[]): number[] {
  const statuses: number[] = []
  for (let rest = text; rest !== '';) {
    const head = /^HTTP\/1\.1 (\d{3}) [^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n/.exec(rest)
    if (head === null) throw new Error(`no answer: ${JSON.stringify(rest.slice(0, 80))}`)
    const status = Number(head[1])
    rest = rest.slice(head[0].length)
    if (status === 100) continue
    const length = Number(/\r\ncontent-length: (\d+)\r\n/i.exec(head[0])?.[1] ?? 0)
    // Of what cannot be read nobody knows that it was a HEAD: the last answer may have its body.
    const isLast = /\r\nconnection: close\r\n/i.test(head[0]) && rest.length === length
    if (methods[statuses.length] !== 'HEAD' || isLast) rest = rest.slice(length)
    statuses.push(status)
  }
  return statuses
}

t.test('one answer for each request, or a closed connection', async (t) => {
  const site = await startSite(t, { yaml: 'auth: { require: certificate }' })
  const last = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 3 }), async (requests) => {
      const sent = [...requests, last]
      const { text, error } = await site.raw(sent.join(''), { patience: 15_000 })
      if (error === 'still open') throw new Error('the connection was left open')
      const asked = sent.map((one) => /^[A-Z]+(?= )/.exec(one)?.[0] ?? '')
      const statuses = answersIn(text, asked)
      nothingLeaked(t, text)
      if (statuses.length > sent.length + 1) throw new Error(`${statuses.length} answers`)
      const failed = statuses.find((status) => status >= 500 && status !== 505)
      if (failed !== undefined) throw new Error(`status ${failed}`)
    }),
    { numRuns: 200, endOnFailure: true },
  )
  t.equal((await site.send('/v2/')).status, 200, 'and it still serves')
  t.notOk(
    site.lines.some(({ level }) => level === 50 || level === 60),
    'nothing failed inside',
  )
})
