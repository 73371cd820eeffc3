// The line of a request in the log for people.
import t from 'tap'
import { requestSentence } from '../../src/log/request-sentence.ts'

const facts = {
  requestId: '5f-1',
  client: '10.0.0.5',
  identity: 'CN=edge-1',
  method: 'GET',
  upstream: 'docker.io',
  repository: 'library/alpine',
  reference: '3.20',
  status: 200,
  bytes: 2048,
  source: 'memory',
  ms: 0.41,
}

t.test('what was asked for, what came of it, who asked', async (t) => {
  t.equal(
    requestSentence(facts),
    'GET docker.io/library/alpine:3.20 200, 2.0 KiB from memory in 0.41 ms, CN=edge-1 at 10.0.0.5, 5f-1',
  )
  const digest = `sha256:${'0'.repeat(64)}`
  t.match(requestSentence({ ...facts, reference: digest }), `alpine@${digest} 200`)
  t.match(requestSentence({ ...facts, stale: true }), 'from memory, stale, in 0.41 ms')
})

t.test('why it failed', async (t) => {
  const { upstream: _upstream, repository: _repository, identity: _identity, ...rest } = facts
  const failed = { ...rest, reference: 'token', status: 403, source: 'none', bytes: 70 }
  t.equal(
    requestSentence({ ...failed, code: 'DENIED', reason: 'policy', message: 'not this one' }),
    'GET token 403, 70 B in 0.41 ms, 10.0.0.5, 5f-1; DENIED policy: not this one',
  )
  t.match(requestSentence({ method: 'PUT', status: 405, bytes: 0, ms: 1 }), 'PUT (no resource) 405')
})
