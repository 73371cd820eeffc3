// What an upstream repeats of a secret is not told, in whatever form it comes back.
import { assert, property, string } from 'fast-check'
import t from 'tap'
import { redacted, secretFinder } from '../../src/rules/redaction.ts'

const password = 's3cr3t/p%ss+w<rd"&'
const basic = Buffer.from(`robot:${password}`).toString('base64')
const secrets = [password, basic]

const repeated: Record<string, string> = {
  'as it is': password,
  'as it was sent': `Basic ${basic}`,
  'a beginning': basic.slice(0, 12),
  'an end': password.slice(-7),
  'in a URL': encodeURIComponent(password),
  'in a host name': basic.toLowerCase().replaceAll('=', ''),
  'in JSON': JSON.stringify({ password }),
  'in HTML': password.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;'),
  'in base64': Buffer.from(password).toString('base64'),
  'in base64, behind one more': Buffer.from(`x${password}`).toString('base64'),
  'in base64, behind two more': Buffer.from(`xy${password}`).toString('base64url'),
  'in base64 of base64': Buffer.from(`Basic ${basic}`).toString('base64'),
  'in hex': Buffer.from(password).toString('hex').toUpperCase(),
  'with a name before it': `robot:${password}`,
}

for (const [what, text] of Object.entries(repeated)) {
  t.test(what, async (t) => {
    const told = redacted(`status 500: you sent ${text} to us`, secrets)
    t.match(told, /^status 500: you sent .*\[redacted\].* to us$/)
    for (let index = 0; index + 8 <= text.length; index += 1) {
      const part = text.slice(index, index + 8)
      const isTold = told.includes(part) && !`robot:{"password":"Basic QmFzaWMg`.includes(part)
      t.notOk(isTold, part)
    }
  })
}

t.test('a secret is found as a whole, and what is like it is none', async (t) => {
  const isFound = secretFinder([...secrets, 'short'])
  for (const [what, text] of Object.entries(repeated)) {
    const isWhole = !['a beginning', 'an end'].includes(what)
    t.equal(isFound(`it was ${text}, they say`), isWhole, what)
  }
  for (const text of ['', 'short', '2026-11-26T12:00:00Z', password.slice(1)]) {
    t.notOk(isFound(text))
  }
})

t.test('what is no secret stays', async (t) => {
  const text = 'status 502: the backend is away; ask later'
  t.equal(redacted(text, secrets), text)
  t.equal(redacted(text, []), text)
  t.equal(redacted('abc', ['']), 'abc')
  t.equal(redacted('a pin 1234 in it', ['1234']), 'a pin [redacted] in it', 'a short one')
})

t.test('control characters and length', async (t) => {
  t.equal(redacted('a\r\nb\u001b[31mc\u202ed\u0085e\t\tf', []), 'a b [31mc d e f')
  t.equal(redacted('x'.repeat(1000), []).length, 300)
  const cut = redacted(`${'.'.repeat(296)}${password}`, secrets)
  t.notMatch(cut, /s3/, 'also what the length would have cut')
})

t.test('whatever the secret is', async () => {
  assert(
    property(string({ minLength: 6, unit: 'binary' }), string(), (secret, before) => {
      const told = redacted(`${before}${secret}`, [secret], 10_000)
      return !told.includes(secret) || secret.includes('[redacted]') || before.includes(secret)
    }),
  )
})
