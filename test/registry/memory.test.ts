// Whatever is remembered under a text that a client sends is bounded in bytes, not in entries.
import { setImmediate } from 'node:timers/promises'
import { hashSync } from 'bcryptjs'
import { createLocalJWKSet } from 'jose'
import t from 'tap'
import { createBearerVerifier } from '../../src/identity/bearer.ts'
import { createThrottle } from '../../src/identity/throttle.ts'
import { createPolicy } from '../../src/policy/policy.ts'
import { readPasswords } from '../../src/registry/token/htpasswd.ts'
import { heldBytes } from '../helpers/heap.ts'
import { createIssuer } from '../helpers/tokens.ts'

const MiB = 2 ** 20

/** A text of its own, as long as a request may make it. */
function long(index: number, length = 16_000): string {
  return Buffer.alloc(length, `${index}.`).toString('latin1')
}

/** What `remember` leaves behind for so many texts. */
async function held(count: number, remember: (index: number) => unknown): Promise<number> {
  const before = heldBytes()
  for (let index = 0; index < count; index += 1) await remember(index)
  await setImmediate()
  return heldBytes() - before
}

t.test('decisions of the policy', async (t) => {
  const policy = createPolicy({
    default: 'allow',
    rules: [{ repositories: ['a/**'], actions: ['token'], effect: 'deny' }],
  })
  const ask = (index: number) => policy.decide({ key: '' }, 'token', `a/${long(index)}`)
  t.ok((await held(4000, ask)) < 16 * MiB, 'of 64 MB of names')
  const keys = (index: number) => policy.decide({ key: long(index) }, 'token', 'a/b')
  t.ok((await held(4000, keys)) < 16 * MiB)
  const short = (index: number) => policy.decide({ key: long(index, 900) }, 'token', 'a/b')
  t.ok((await held(100_000, short)) < 32 * MiB, 'of 90 MB that may be remembered')
  t.equal(policy.decide({ key: long(3) }, 'token', 'a/b').allowed, false)
})

t.test('failures', async (t) => {
  const throttle = createThrottle({ burst: 1, refill: 1000 })
  t.ok((await held(12_000, (index) => throttle.fail(long(index)))) < 16 * MiB)
  t.ok(throttle.wait(long(11_999)) > 0)
})

t.test('passwords', async (t) => {
  const users = Array.from({ length: 2000 }, (_, index) => `user${index}`)
  const hash = hashSync('x', 4)
  const file = t.testdir({ users: users.map((user) => `${user}:${hash}`).join('\n') })
  const passwords = readPasswords(`${file}/users`, async () => true)
  const check = async (index: number) =>
    passwords.check(`user${index}`, long(index, 72).slice(0, 72))
  t.ok((await held(2000, check)) < 4 * MiB)
  const wrong = async (index: number) => passwords.check('nobody', long(index))
  t.ok((await held(3000, wrong)) < 4 * MiB)
})

t.test('tokens', async (t) => {
  const idp = await createIssuer()
  const verifier = createBearerVerifier([
    {
      issuer: idp.issuer,
      audience: [idp.audience],
      algorithms: ['ES256'],
      clockSkew: 0,
      groupsClaim: 'groups',
      keys: { key: createLocalJWKSet(idp.jwks), close: async () => undefined },
    },
  ])
  const verify = async (index: number) =>
    verifier.verify(await idp.sign({ note: long(index, 9000) }))
  t.ok((await held(3000, verify)) < 24 * MiB, 'of 36 MB of tokens')
  const unsigned = async (index: number) => verifier.verify(`${long(index, 10_000)}.a.b`)
  t.ok((await held(3000, unsigned)) < 4 * MiB)
  const newest = await idp.sign({})
  await verifier.verify(newest)
  t.ok(verifier.known(newest))
})
