// What the matrix expects, against a table written by hand.
import t from 'tap'
import { UsageError } from '../../src/errors.ts'
import {
  clientAuthOf,
  clientAuths,
  clientNames,
  clientOutcome,
  modes,
  situationNamed,
  situations,
  upstreamOutcome,
} from './plan.ts'

const required = 'client_certificate_required'
const refused = 'client_certificate_refused'

t.test('every mode in every situation', async (t) => {
  t.same(
    situations.map(({ title }) => title),
    ['one-way', 'two-way', 'one-way, unknown CA', 'two-way, unknown CA', 'wrong name'],
  )
  const outcomes = modes.map((mode) => [
    mode.title,
    ...situations.map((situation) => upstreamOutcome(mode, situation)),
  ])
  t.same(outcomes, [
    ['one-way insecure', 'pulled', required, 'pulled', required, 'pulled'],
    ['one-way secure', 'pulled', required, 'unknown_ca', 'unknown_ca', 'wrong_name'],
    ['two-way insecure', 'pulled', 'pulled', 'pulled', 'pulled', 'pulled'],
    ['two-way secure', 'pulled', 'pulled', 'unknown_ca', 'unknown_ca', 'wrong_name'],
    ['two-way, wrong CA', 'pulled', refused, 'unknown_ca', 'unknown_ca', 'wrong_name'],
  ])
})

t.test('every client at every clientAuth', async (t) => {
  t.same(clientNames, ['none', 'right', 'wrong-ca', 'expired'])
  const outcomes = clientAuths.map((gateway) => [
    clientAuthOf[gateway],
    ...clientNames.map((client) => clientOutcome(gateway, client)),
  ])
  t.same(outcomes, [
    ['none', 'admitted', 'admitted', 'admitted', 'admitted'],
    ['optional', 'admitted', 'admitted', 'denied: unknown_ca', 'denied: expired'],
    ['required', 'cut off: no_certificate', 'admitted', 'cut off: unknown_ca', 'cut off: expired'],
  ])
})

t.test('a situation by its name', async (t) => {
  t.equal(situationNamed('two-way'), 'two-way')
  t.throws(() => situationNamed('three-way'), UsageError)
})
