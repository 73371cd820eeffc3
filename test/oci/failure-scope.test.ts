import t from 'tap'
import { GatewayError } from '../../src/errors.ts'
import { isOutage, scopeOf } from '../../src/oci/failure-scope.ts'
import { failureOfError } from '../../src/upstream/failure.ts'

const subject = {
  title: 'the upstream a',
  at: 'upstreams.a',
  hasProxy: false,
  hasClientCertificate: false,
}
const system = (code: string) => Object.assign(new Error(code), { code })

t.test('nobody listens: it is left alone', async (t) => {
  const { error } = failureOfError(subject, system('ECONNREFUSED'))
  t.equal(scopeOf(error), 'upstream')
})

t.test('no descriptor is left here: an outage, and no fault of the upstream', async (t) => {
  for (const code of ['EMFILE', 'ENFILE']) {
    const { error, isTransient } = failureOfError(subject, system(code))
    t.match(error, { code: 'UNAVAILABLE', reason: 'no_descriptors', status: 503 })
    t.ok(isOutage(error), 'what is known may be served')
    t.equal(scopeOf(error), 'request', 'the upstream does not rest for it')
    t.ok(isTransient, 'it is tried again')
  }
  t.notOk(isOutage(new GatewayError('UNAVAILABLE', 'something else')))
})
