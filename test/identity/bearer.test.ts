// Tokens right and wrong, each signed for real.
import { createHmac, randomBytes } from 'node:crypto'
import * as fc from 'fast-check'
import { createLocalJWKSet, exportSPKI, importJWK, SignJWT } from 'jose'
import t from 'tap'
import {
  createBearerVerifier,
  isBound,
  type InvalidReason,
  type TrustedIssuer,
} from '../../src/identity/bearer.ts'
import type { TokenIdentity } from '../../src/identity/identity.ts'
import { createIssuer, type TestIssuer } from '../helpers/tokens.ts'

const second = 1000
const idp = await createIssuer()
const now = Math.floor(Date.now() / second)

function trust(issuer: TestIssuer, extra: Partial<TrustedIssuer> = {}): TrustedIssuer {
  return {
    issuer: issuer.issuer,
    audience: [issuer.audience],
    algorithms: ['ES256'],
    clockSkew: 30 * second,
    groupsClaim: 'groups',
    keys: { key: createLocalJWKSet(issuer.jwks), close: async () => undefined },
    ...extra,
  }
}

const verifier = createBearerVerifier([trust(idp)])

async function outcome(token: string, from = verifier): Promise<InvalidReason | 'accepted'> {
  const result = await from.verify(token)
  return result.kind === 'token' ? 'accepted' : result.reason
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** A token with a header of choice, signed by `sign` of its first two parts. */
function forge(header: object, sign: (data: string) => string, claims: object = {}): string {
  const payload = { iss: idp.issuer, aud: idp.audience, exp: now + 300, ...claims }
  const data = `${encode(header)}.${encode(payload)}`
  return `${data}.${sign(data)}`
}

t.test('a right token and what it says', async (t) => {
  const access = [{ type: 'repository', name: 'a/b', actions: ['pull'] }]
  const token = await idp.sign({ groups: ['dev'], access, cnf: { 'x5t#S256': 'abc' } })
  const identity = (await verifier.verify(token)) as TokenIdentity
  t.match(identity, {
    kind: 'token',
    issuer: 'https://idp.example',
    subject: 'alice',
    groups: ['dev'],
    access,
    boundTo: 'abc',
  })
  t.equal(identity.expiresAt, (now + 330) * second, 'exp and the clock skew')
  t.notOk(identity.id.includes(token))
})

const wrong: [name: string, reason: InvalidReason, token: () => Promise<string> | string][] = [
  ['not a token', 'malformed', () => 'secret'],
  ['three parts of nothing', 'malformed', () => '..'],
  ['no JSON', 'malformed', () => 'YQ.YQ.YQ'],
  ['alg none', 'algorithm', () => forge({ alg: 'none' }, () => 'AA')],
  ['alg none without a signature', 'malformed', () => forge({ alg: 'none' }, () => '')],
  ['of an unknown issuer', 'unknown_issuer', async () => idp.sign({ iss: 'https://x.example' })],
  ['without an issuer', 'unknown_issuer', async () => idp.sign({ iss: undefined })],
  ['for another audience', 'audience', async () => idp.sign({ aud: 'other' })],
  ['without an audience', 'audience', async () => idp.sign({ aud: undefined })],
  ['without an expiry', 'claims', async () => idp.sign({ exp: undefined })],
  ['with a text for an expiry', 'claims', async () => idp.sign({ exp: 'tomorrow' })],
  ['expired', 'expired', async () => idp.sign({ exp: now - 31 })],
  ['for later', 'not_yet_valid', async () => idp.sign({ nbf: now + 60 })],
  ['issued later', 'not_yet_valid', async () => idp.sign({ iat: now + 60 })],
  ['with an unknown crit', 'header', async () => critical()],
  ['with a key of its own', 'header', async () => idp.sign({}, { jwk: idp.publicJwk })],
  ['with a key URL', 'header', async () => idp.sign({}, { jku: 'https://x.example' })],
  ['with a certificate of its own', 'header', async () => idp.sign({}, { x5c: ['AA'] })],
  ['of an unknown key', 'unknown_key', async () => idp.sign({}, { kid: 'other' })],
  ['of a foreign key with the known name', 'signature', async () => foreign()],
  ['too large', 'too_large', async () => idp.sign({ padding: 'x'.repeat(16_384) })],
  ['with a wrong access list', 'claims', async () => idp.sign({ access: ['pull'] })],
  ['with an access list that is a text', 'claims', async () => idp.sign({ access: 'all' })],
  ['confirmed by other means', 'binding', async () => idp.sign({ cnf: { jkt: 'abc' } })],
  ['confirmed by nothing', 'binding', async () => idp.sign({ cnf: {} })],
  [
    'confirmed by a second means',
    'binding',
    async () => idp.sign({ cnf: { 'x5t#S256': 'abc', jkt: 'abc' } }),
  ],
  ['confirmed by a number', 'claims', async () => idp.sign({ cnf: { 'x5t#S256': 1 } })],
]

for (const [name, reason, make] of wrong) {
  t.test(`a token ${name} is refused`, async (t) => {
    t.equal(await outcome(await make()), reason)
  })
}

async function foreign(): Promise<string> {
  return (await createIssuer()).sign()
}

async function critical(): Promise<string> {
  const payload = { iss: idp.issuer, aud: idp.audience, exp: now + 300 }
  return new SignJWT({ ...payload })
    .setProtectedHeader({ alg: 'ES256', kid: 'key-1', crit: ['x'], x: 1 })
    .sign(idp.privateKey, { crit: { x: true } })
}

t.test('HS256 with the public key as the secret', async (t) => {
  const key = await importJWK(idp.publicJwk, 'ES256')
  if (key instanceof Uint8Array) throw new Error('not a public key')
  const spki = await exportSPKI(key)
  const token = forge({ alg: 'HS256', kid: 'key-1' }, (data) =>
    createHmac('sha256', spki).update(data).digest('base64url'),
  )
  t.equal(await outcome(token), 'algorithm')
})

t.test('an algorithm of another issuer', async (t) => {
  const rsa = await createIssuer('https://rsa.example', { algorithm: 'RS256' })
  const both = createBearerVerifier([trust(idp), trust(rsa, { algorithms: ['RS256'] })])
  t.equal(await outcome(await rsa.sign(), both), 'accepted')
  t.equal(await outcome(await rsa.sign({ iss: idp.issuer }), both), 'algorithm')
  t.equal(await outcome(await rsa.sign(), createBearerVerifier([trust(rsa)])), 'algorithm')
})

t.test('typ, where it is asked for', async (t) => {
  const strict = createBearerVerifier([trust(idp, { typ: 'at+jwt' })])
  t.equal(await outcome(await idp.sign({}, { typ: 'at+jwt' }), strict), 'accepted')
  t.equal(await outcome(await idp.sign(), strict), 'type')
  t.equal(await outcome(await idp.sign({}, { typ: undefined }), strict), 'type')
})

t.test('clocks may be apart as far as the config says', async (t) => {
  t.equal(await outcome(await idp.sign({ exp: now - 20 })), 'accepted')
  t.equal(await outcome(await idp.sign({ nbf: now + 20 })), 'accepted')
  const exact = createBearerVerifier([trust(idp, { clockSkew: 0 })])
  t.equal(await outcome(await idp.sign({ exp: now - 1 }), exact), 'expired')
})

t.test('what was verified is remembered until it expires', async (t) => {
  let time = now * second
  let keys = 0
  const { key } = trust(idp).keys
  const counting = trust(idp, {
    keys: {
      async key(header, token) {
        keys += 1
        return key(header, token)
      },
      close: async () => undefined,
    },
  })
  const remembering = createBearerVerifier([counting], () => time)
  const token = await idp.sign()
  t.equal(remembering.known(token), undefined)
  const first = await remembering.verify(token)
  t.equal(await remembering.verify(token), first)
  t.equal(remembering.known(token), first)
  t.equal(keys, 1)
  time += 331 * second
  t.equal(remembering.known(token), undefined)
  t.equal(await outcome(token, remembering), 'expired')
})

t.test('a certificate that only an issuer of others vouches for', async (t) => {
  const cert = {
    commonName: 'edge-1',
    subject: '',
    dnsNames: [],
    uris: [],
    thumbprint: 'abc',
    alone: true,
  }
  const token = await idp.sign({ cert })
  t.equal(((await verifier.verify(token)) as TokenIdentity).issuedFor, undefined)
  const own = createBearerVerifier([trust(idp, { own: true })])
  const identity = (await own.verify(token)) as TokenIdentity
  t.same(identity.issuedFor, cert)
  t.ok(isBound(identity, undefined), 'not bound, it may come without the certificate')
  t.ok(isBound(identity, 'abc'))
  t.notOk(isBound(identity, 'def'), 'but not with that of somebody else')
})

t.test('a bound token is good with its certificate only', async (t) => {
  const token = (await verifier.verify(
    await idp.sign({ cnf: { 'x5t#S256': 'abc' } }),
  )) as TokenIdentity
  t.ok(isBound(token, 'abc'))
  t.notOk(isBound(token, 'def'))
  t.notOk(isBound(token, undefined))
})

t.test('no mutation of a valid token is accepted', async (t) => {
  const token = await idp.sign({ groups: ['dev'] })
  t.equal(await outcome(token), 'accepted')
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n%'
  const at = fc.nat(token.length - 1)
  const char = fc.constantFrom(...alphabet.split(''))
  const mutant = fc.oneof(
    fc.tuple(at, char).map(([i, c]) => token.slice(0, i) + c + token.slice(i + 1)),
    fc.tuple(at, char).map(([i, c]) => token.slice(0, i) + c + token.slice(i)),
    at.map((i) => token.slice(0, i) + token.slice(i + 1)),
    at.map((i) => token.slice(0, i)),
    fc.tuple(at, at).map(([i, j]) => swap(token, i, j)),
    fc.string().map((tail) => token + tail),
    fc.tuple(fc.nat(2), fc.uint8Array({ minLength: 1, maxLength: 80 })).map(([part, bytes]) => {
      const parts = token.split('.')
      parts[part] = Buffer.from(bytes).toString('base64url')
      return parts.join('.')
    }),
  )
  await fc.assert(
    fc.asyncProperty(mutant, async (mutated) => {
      fc.pre(mutated !== token)
      return (await outcome(mutated)) !== 'accepted'
    }),
    { numRuns: 3000 },
  )
  // Every single bit of the last characters, whose spare bits decode to the same signature.
  for (const last of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_') {
    const mutated = token.slice(0, -1) + last
    if (mutated === token) continue
    t.not(await outcome(mutated), 'accepted', `the last character as ${last}`)
  }
})

t.test('no other claims go with a signature', async () => {
  const token = await idp.sign()
  const [header, payload, signature] = token.split('.')
  const claims = JSON.parse(Buffer.from(payload ?? '', 'base64url').toString()) as object
  await fc.assert(
    fc.asyncProperty(fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }), async (more) => {
      const altered = encode({ ...claims, ...more })
      fc.pre(altered !== payload)
      return (await outcome(`${header}.${altered}.${signature}`)) !== 'accepted'
    }),
    { numRuns: 500 },
  )
})

t.test('memory is bounded, and what is forgotten is verified again', async (t) => {
  const token = await idp.sign()
  await verifier.verify(token)
  for (let i = 0; i < 10; i += 1) await verifier.verify(randomBytes(9).toString('base64url'))
  t.ok(verifier.known(token), 'wrong tokens take no place')
})

function swap(text: string, i: number, j: number): string {
  const chars = text.split('')
  ;[chars[i], chars[j]] = [chars[j] ?? '', chars[i] ?? '']
  return chars.join('')
}
