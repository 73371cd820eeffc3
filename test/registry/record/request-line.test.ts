// The line of a request is what the logger would have written, whatever is in it.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pino } from 'pino'
import t from 'tap'
import { GatewayError } from '../../../src/errors.ts'
import { beginExchange, type Exchange } from '../../../src/registry/request-record.ts'
import { createRequestLog } from '../../../src/registry/record/request-line.ts'

const evil = 'a"b\\c\n\u0000\u001b[2J\u2028\u{1f600}\ud800 {"level":"fatal"}'

function write(changes: Partial<Exchange>, status = 200, level = 'info') {
  const lines: string[] = []
  const log = pino({ level }, { write: (line) => void lines.push(line) })
  const req = { method: 'GET', url: '/', socket: { remoteAddress: '::1' } }
  const res = { statusCode: status }
  const exchange = beginExchange(
    req as unknown as IncomingMessage,
    res as unknown as ServerResponse,
    'r-1',
  )
  createRequestLog(log)({ ...exchange, ...changes }, 0.0012345, 0.001)
  return lines
}

t.test('every field that is told', async (t) => {
  const [line = ''] = write({
    identity: { kind: 'token', subject: 'alice', issuer: 'https://idp' } as Exchange['identity'],
    place: { upstream: 'docker.io', repository: 'library/alpine' },
    resource: { kind: 'manifest', tag: 'latest' } as Exchange['resource'],
    source: 'memory',
    stale: true,
    bytes: 17,
  })
  t.ok(line.endsWith('}\n'))
  const { time, ...facts } = JSON.parse(line) as Record<string, unknown>
  t.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  t.strictSame(Object.entries(facts), [
    ['level', 'info'],
    ['pid', process.pid],
    ['requestId', 'r-1'],
    ['client', '::1'],
    ['identity', 'token alice of https://idp'],
    ['method', 'GET'],
    ['upstream', 'docker.io'],
    ['repository', 'library/alpine'],
    ['reference', 'latest'],
    ['status', 200],
    ['bytes', 17],
    ['source', 'memory'],
    ['stale', true],
    ['ttfbMs', 1],
    ['ms', 1.23],
    ['msg', 'request'],
  ])
})

t.test('what is not known is left out', async (t) => {
  const [line = ''] = write({ client: undefined })
  const names = Object.keys(JSON.parse(line) as object)
  t.strictSame(
    names,
    'level time pid requestId method status bytes source ttfbMs ms msg'.split(' '),
  )
})

t.test('no foreign text gets out of its quotes', async (t) => {
  const error = new GatewayError('UPSTREAM_FAILED', evil, { reason: evil, cause: new Error(evil) })
  const [line = ''] = write({
    client: evil,
    identity: { kind: 'certificate', subject: evil } as Exchange['identity'],
    place: { upstream: evil, repository: evil },
    resource: { kind: 'manifest', tag: evil } as Exchange['resource'],
    error,
  })
  t.equal(line.split('\n').length, 2)
  const facts = JSON.parse(line) as Record<string, unknown>
  const texts = { client: evil, identity: evil, upstream: evil, repository: evil, reference: evil }
  t.match(facts, { ...texts, message: evil, reason: evil, why: evil, level: 'info' })
})

t.test('a failure of the gateway has its stack, and is a warning', async (t) => {
  const error = new GatewayError('INTERNAL', 'oops', { cause: new Error('bug') })
  const [line = ''] = write({ error, bytes: 3 }, 500)
  const facts = JSON.parse(line) as Record<string, unknown>
  t.match(facts, { code: 'INTERNAL', message: 'oops', bytes: 3, msg: 'request', level: 40 })
  t.match(facts['err'], { message: 'bug', stack: /request-line\.test/ })
})

t.test('the level of the log holds', async (t) => {
  t.strictSame(write({}, 200, 'warn'), [])
  t.equal(write({}, 503, 'warn').length, 1)
  t.strictSame(write({}, 503, 'error'), [])
})
