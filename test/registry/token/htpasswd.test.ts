// Password checks: their queue, and what they cost; through the token service they are in service.test.ts.
import { join } from 'node:path'
import { compare, getRounds, hashSync } from 'bcryptjs'
import t, { type Test } from 'tap'
import { GatewayError } from '../../../src/errors.ts'
import { readPasswords, type Compare } from '../../../src/registry/token/htpasswd.ts'

function passwords(t: Test, users: Record<string, string>, by: Compare = compare) {
  const lines = Object.entries(users).map(([user, hash]) => `${user}:${hash}`)
  return readPasswords(join(t.testdir({ users: lines.join('\n') }), 'users'), by)
}

t.test('what is remembered is one user and one password', async (t) => {
  const { known, check } = passwords(t, { alice: hashSync('a', 4), bob: hashSync('b', 4) })
  t.notOk(known('alice', 'a'))
  t.ok(await check('alice', 'a'))
  t.ok(known('alice', 'a'))
  t.notOk(known('bob', 'a'))
  t.notOk(known('alicea', ''))
  t.notOk(await check('bob', 'a'))
  t.notOk(known('bob', 'a'), 'a wrong one is not remembered as right')
})

t.test('one check after the other, any number of them', async (t) => {
  const { check } = passwords(t, { alice: hashSync('a', 4) })
  for (let i = 0; i < 40; i += 1) t.notOk(await check('alice', `wrong${i}`))
  t.ok(await check('alice', 'a'))
})

t.test('the queue of checks is bounded, and empties', async (t) => {
  const gate = Promise.withResolvers<void>()
  const { check } = passwords(t, { alice: hashSync('a', 4) }, async (password, hash) => {
    await gate.promise
    return compare(password, hash)
  })
  const outcomes = Array.from({ length: 17 }, async (_, i) =>
    check('alice', `wrong${i}`).catch((error: unknown) => error),
  )
  const refused = await outcomes[16]
  t.ok(refused instanceof GatewayError)
  t.match(refused, { code: 'TOOMANYREQUESTS', headers: { 'retry-after': /^\d+$/ } })
  gate.resolve()
  t.same(await Promise.all(outcomes.slice(0, 16)), Array(16).fill(false))
  t.ok(await check('alice', 'a'), 'there is room again')
})

t.test('a check costs the same whoever is asked for', async (t) => {
  let work = 0
  const counting: Compare = async (_password, hash) => {
    work += 2 ** getRounds(hash)
    return false
  }
  const users = {
    cheap: `$2b$04$${'.'.repeat(53)}`,
    middle: `$2b$10$${'.'.repeat(53)}`,
    dear: `$2b$12$${'.'.repeat(53)}`,
  }
  const { check } = passwords(t, users, counting)
  const costs: number[] = []
  for (const user of [...Object.keys(users), 'nobody', '']) {
    work = 0
    await check(user, 'x')
    costs.push(work)
  }
  t.same([...new Set(costs)], [2 ** 12])
})
