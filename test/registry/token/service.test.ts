// The token endpoint, asked as its clients ask; over sockets it is in authorization.test.ts.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import { decodeJwt } from 'jose'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import type { TokenServiceConfig } from '../../../src/config/access-schema.ts'
import { GatewayError, UsageError } from '../../../src/errors.ts'
import { createBearerVerifier, type TrustedIssuer } from '../../../src/identity/bearer.ts'
import type {
  CertificateIdentity,
  Identity,
  TokenIdentity,
} from '../../../src/identity/identity.ts'
import { createThrottle, type ThrottleOptions } from '../../../src/identity/throttle.ts'
import { createKeySource } from '../../../src/identity/jwks.ts'
import { openTokenKeys } from '../../../src/registry/token/keys.ts'
import { createIssuer } from '../../helpers/tokens.ts'
import { readPasswords } from '../../../src/registry/token/htpasswd.ts'
import type { TokenRequest } from '../../../src/registry/token/login.ts'
import {
  createTokenService,
  type TokenServiceOptions,
} from '../../../src/registry/token/service.ts'

const log = pino({ level: 'silent' })
const scope = 'repository:docker.io/library/alpine:pull'

const certificate: CertificateIdentity = {
  kind: 'certificate',
  commonName: 'edge-1',
  subject: 'CN=edge-1,O=Example',
  dnsNames: ['edge-1.example'],
  uris: [],
  serial: '01',
  thumbprint: 'thumbprint-of-edge-1',
  expiresAt: Number.MAX_SAFE_INTEGER,
}

const throttlesOf = (options: ThrottleOptions) => ({
  sources: createThrottle(options),
  accounts: createThrottle(options),
})

const other = { ...certificate, commonName: 'edge-2', thumbprint: 'thumbprint-of-edge-2' }

function service(
  t: Test,
  config: Partial<TokenServiceConfig> = {},
  options: Partial<TokenServiceOptions> = {},
) {
  const folder = t.testdir()
  const htpasswd = join(folder, 'users')
  const write = (password: string) => {
    writeFileSync(htpasswd, `# users\nalice:${hashSync(password, 4)}\n\nbob:${hashSync('b', 4)}\n`)
  }
  write('secret')
  const key = join(folder, 'token.key')
  const open = (changed: Partial<TokenServiceOptions> = {}) => {
    const made = createTokenService({
      config: {
        key,
        issuer: 'portcullis',
        service: 'portcullis',
        ttl: 300_000,
        refreshTtl: 86_400_000,
        rotateEvery: 90 * 86_400_000,
        htpasswd,
        bindToCertificate: true,
        ...config,
      },
      require: 'token',
      log,
      throttles: throttlesOf({ burst: 3, refill: 10_000 }),
      mayPull: (_identity, name) => name !== 'denied',
      ...options,
      ...changed,
    })
    made.start()
    return made
  }
  return { ...open(), open, write, key }
}

function get(
  query: Record<string, string | string[]>,
  more: Partial<TokenRequest> = {},
): TokenRequest {
  const params = new URLSearchParams(
    Object.entries(query).flatMap(([key, value]) =>
      [value].flat().map((one): [string, string] => [key, one]),
    ),
  )
  return { method: 'GET', query: params, source: '10.0.0.1', ...more }
}

function post(form: Record<string, string>, more: Partial<TokenRequest> = {}): TokenRequest {
  const none = new URLSearchParams()
  return {
    method: 'POST',
    query: none,
    form: new URLSearchParams(form),
    source: '10.0.0.1',
    ...more,
  }
}

function basic(user: string, password: string): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
}

async function codeOf(answer: Promise<unknown>): Promise<string> {
  const error: unknown = await answer.catch((error: unknown) => error)
  return error instanceof GatewayError
    ? `${error.status} ${error.reason ?? error.code}`
    : 'answered'
}

t.test('a password gets a token for what may be pulled of what is asked', async (t) => {
  const { handle, issuer } = service(t)
  const asked = [scope, 'repository:denied:pull', 'repository:docker.io/x:push']
  const { body, granted } = await handle(
    get({ service: 'portcullis', scope: asked }, basic('alice', 'secret')),
  )
  t.match(body, { token_type: 'Bearer', expires_in: 300, token: body['access_token'] })
  t.ok(Math.abs(Date.parse(String(body['issued_at'])) - Date.now()) < 10_000)
  t.notOk('refresh_token' in body)
  t.equal(granted, scope)
  const identity = (await createBearerVerifier([issuer]).verify(
    String(body['token']),
  )) as TokenIdentity
  t.match(identity, {
    kind: 'token',
    issuer: 'portcullis',
    subject: 'alice',
    access: [{ type: 'repository', name: 'docker.io/library/alpine', actions: ['pull'] }],
  })
  t.equal(identity.boundTo, undefined)
  t.equal(identity.issuedFor, undefined)
  for (const claim of ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti']) {
    t.hasOwnProp(identity.claims, claim)
  }
})

t.test('a login without a scope gets a token without access', async (t) => {
  const { body } = await service(t).handle(get({ account: 'alice' }, basic('alice', 'secret')))
  t.same(decodeJwt(String(body['token']))['access'], [])
})

t.test('a certificate gets a token that is bound to it', async (t) => {
  const asked: Identity[] = []
  const mayPull = (identity: Identity) => asked.push(identity) > 0
  const { handle } = service(t, {}, { mayPull })
  const { body } = await handle(get({ scope }, { certificate }))
  const claims = decodeJwt(String(body['token']))
  t.match(claims, {
    sub: 'CN=edge-1,O=Example',
    cnf: { 'x5t#S256': certificate.thumbprint },
    cert: { commonName: 'edge-1', thumbprint: certificate.thumbprint, alone: true },
  })
  t.same(asked, [certificate], 'the policy is asked about the certificate')
})

t.test('not bound, it still says what it was issued for', async (t) => {
  const { handle } = service(t, { bindToCertificate: false })
  const { body } = await handle(get({ scope }, { certificate }))
  const claims = decodeJwt(String(body['token']))
  t.equal(claims['cnf'], undefined)
  t.match(claims['cert'], { thumbprint: certificate.thumbprint })
})

t.test('password and certificate together', async (t) => {
  const { handle } = service(t, {}, { require: 'all' })
  const { body, identity } = await handle(
    get({ scope }, { certificate, ...basic('alice', 'secret') }),
  )
  t.match(identity, { kind: 'certificate+token', token: { subject: 'alice' }, certificate })
  t.match(decodeJwt(String(body['token'])), { sub: 'alice', cert: { alone: false } })
  t.equal(await codeOf(handle(get({}, basic('alice', 'secret')))), '403 no_certificate')
  t.equal(await codeOf(handle(get({}, { certificate }))), '401 login', 'one of the two is not both')
})

t.test('wrong passwords, and nothing at all', async (t) => {
  const { handle } = service(t, {}, { throttles: throttlesOf({ burst: 99, refill: 1 }) })
  const wrong = [
    basic('alice', 'wrong'),
    basic('alice', ''),
    basic('nobody', 'secret'),
    basic('', ''),
    basic('bob', 'secret'),
    { authorization: 'Basic !' },
    { authorization: 'Bearer abc' },
    {},
  ]
  for (const credentials of wrong) {
    t.equal(
      await codeOf(handle(get({ scope }, credentials))),
      '401 login',
      JSON.stringify(credentials),
    )
  }
  const error = await handle(get({})).catch((error: unknown) => error)
  t.match(error, { headers: { 'www-authenticate': /^Basic realm=/ } })
  t.equal(
    await codeOf(handle(get({}, { certificate, ...basic('alice', 'wrong') }))),
    '401 login',
    'a certificate does not make up for a wrong password',
  )
})

t.test('bcrypt looks at 72 bytes only: nobody gets in by the first 72', async (t) => {
  const long = 'x'.repeat(72)
  const { handle, open, write } = service(t)
  write(long)
  const again = open()
  t.equal(await codeOf(again.handle(get({}, basic('alice', long)))), 'answered')
  t.equal(await codeOf(again.handle(get({}, basic('alice', `${long}y`)))), '401 login')
  t.equal(await codeOf(handle(get({}, basic('alice', 'secret')))), 'answered')
})

t.test('without a password file only a certificate helps', async (t) => {
  const folder = t.testdir()
  const { handle, start } = createTokenService({
    config: {
      key: join(folder, 'key'),
      issuer: 'portcullis',
      service: 'portcullis',
      ttl: 1000,
      refreshTtl: 1000,
      rotateEvery: 1000,
      bindToCertificate: true,
    },
    require: 'token',
    log,
    throttles: throttlesOf({ burst: 1, refill: 1 }),
    mayPull: () => true,
  })
  start()
  t.equal(await codeOf(handle(get({}))), '403 no_certificate')
  t.equal(await codeOf(handle(get({}, basic('alice', 'secret')))), '403 no_certificate')
  t.equal(await codeOf(handle(get({}, { certificate }))), 'answered')
})

t.test('right and wrong passwords are under the same limits', async (t) => {
  let time = 0
  const { handle } = service(
    t,
    {},
    { throttles: throttlesOf({ burst: 3, refill: 10_000, now: () => time }) },
  )
  const from = async (source: string, user: string, password: string) =>
    codeOf(handle({ ...get({}, basic(user, password)), source }))
  t.equal(await from('10.0.0.9', 'alice', 'secret'), 'answered')
  for (let i = 0; i < 10; i += 1) {
    t.equal(await from('10.0.0.8', 'bob', 'b'), 'answered', 'who is right waits for nothing')
  }
  for (const password of ['x', 'y', 'z']) {
    t.equal(await from('10.0.0.1', 'alice', password), '401 login')
  }
  t.equal(await from('10.0.0.1', 'alice', 'secret'), '429 throttled', 'right, and known to be')
  t.equal(await from('10.0.0.1', 'alice', 'other'), '429 throttled')
  t.equal(await from('10.0.0.1', 'bob', 'b'), '429 throttled', 'whatever the account')
  t.equal(await from('10.0.0.2', 'alice', 'secret'), '429 throttled', 'whatever the address')
  t.equal(await from('10.0.0.2', 'alice', 'other'), '429 throttled')
  t.equal(await from('10.0.0.9', 'alice', 'secret'), 'answered', 'nobody locks out who is at work')
  t.equal(await from('10.0.0.2', 'bob', 'b'), 'answered', 'and no other account')
  time += 10_000
  t.equal(await from('10.0.0.2', 'alice', 'secret'), 'answered')
})

t.test('an account that there is not is throttled like one that there is', async (t) => {
  const { handle } = service(t)
  for (const user of ['alice', 'nobody']) {
    const codes: string[] = []
    for (const source of ['1', '2', '3', '4']) {
      codes.push(await codeOf(handle({ ...get({}, basic(user, `x${source}`)), source })))
    }
    t.same(codes, ['401 login', '401 login', '401 login', '429 throttled'], user)
  }
})

t.test('many guesses at once are no more than one after the other', async (t) => {
  const { handle } = service(t)
  const guesses = Array.from({ length: 10 }, (_, i) => `guess${i}`)
  const codes = await Promise.all(
    [...guesses, 'secret'].map(async (guess) => codeOf(handle(get({}, basic('alice', guess))))),
  )
  t.equal(codes.filter((code) => code === '401 login').length, 3)
  t.equal(codes.filter((code) => code === '429 throttled').length, 8)
})

t.test('the same login many times at once is one attempt', async (t) => {
  const { handle } = service(t)
  const codes = await Promise.all(
    Array.from({ length: 40 }, async () => codeOf(handle(get({}, basic('alice', 'secret'))))),
  )
  t.same([...new Set(codes)], ['answered'])
})

t.test(
  'failures count for a certificate, and not for who is behind the same address',
  async (t) => {
    const { handle } = service(t)
    for (const password of ['x', 'y', 'z']) await codeOf(handle(get({}, basic('alice', password))))
    const bob = basic('bob', 'b')
    t.equal(await codeOf(handle(get({}, bob))), '429 throttled')
    t.equal(await codeOf(handle(get({}, { certificate, ...bob }))), 'answered')
    for (const password of ['x', 'y', 'z']) {
      await codeOf(handle(get({}, { certificate, ...basic('carol', password) })))
    }
    t.equal(await codeOf(handle(get({}, { certificate, ...bob }))), '429 throttled')
    t.equal(await codeOf(handle(get({}, { certificate: other, ...bob }))), 'answered')
  },
)

t.test('a password that was right lately opens no other account', async (t) => {
  const { handle } = service(t)
  t.equal(await codeOf(handle(get({}, basic('alice', 'secret')))), 'answered')
  t.equal(await codeOf(handle(get({}, basic('bob', 'secret')))), '401 login')
  t.equal(await codeOf(handle(get({}, basic('alice\0secret', '')))), '401 login')
})

t.test("another issuer's token as the password", async (t) => {
  const idp = await createIssuer()
  const folder = t.testdir({ 'jwks.json': JSON.stringify(idp.jwks) })
  const issuer: TrustedIssuer = {
    issuer: idp.issuer,
    audience: [idp.audience],
    algorithms: ['ES256'],
    clockSkew: 0,
    groupsClaim: 'groups',
    keys: createKeySource(
      { issuer: idp.issuer, jwks: join(folder, 'jwks.json') },
      { at: 'issuer', log },
    ),
  }
  const asked: Identity[] = []
  const own: TrustedIssuer[] = []
  const { handle, issuer: ours } = service(
    t,
    {},
    {
      mayPull: (identity) => asked.push(identity) > 0,
      verifyToken: async (token) => createBearerVerifier([issuer, ...own]).verify(token),
    },
  )
  own.push(ours)
  const jwt = await idp.sign({ groups: ['ci'] })
  const given = await handle(get({ scope, offline_token: 'true' }, basic('whoever', jwt)))
  t.match(given, { granted: scope, body: { token: jwt, access_token: jwt, token_type: 'Bearer' } })
  const left = given.body['expires_in']
  t.ok(typeof left === 'number' && left > 200 && left <= 300, 'it ends when it ends')
  t.notOk('refresh_token' in given.body, 'and nothing of ours outlives it')
  t.match(asked, [{ kind: 'token', issuer: idp.issuer, groups: ['ci'] }])
  const both = await handle(get({ scope }, { certificate, ...basic('x', jwt) }))
  t.match(both.identity, { kind: 'certificate+token', token: { issuer: idp.issuer } })

  const alice = await handle(get({ scope }, { source: '10.9.0.1', ...basic('alice', 'secret') }))
  const now = Math.floor(Date.now() / 1000)
  const wrong = [
    await idp.sign({ exp: now - 60 }),
    await idp.sign({ aud: 'elsewhere' }),
    await idp.sign({ cnf: { 'x5t#S256': 'of another' } }),
    String(alice.body['token']),
    `${jwt.slice(0, -6)}AAAAAA`,
  ]
  for (const [index, password] of wrong.entries()) {
    const request = get({}, { source: `10.8.0.${index}`, ...basic('whoever', password) })
    t.equal(await codeOf(handle(request)), '401 login', String(index))
  }
})

t.test('nobody gets past require: all with one of the two', async (t) => {
  const { handle, open } = service(t)
  const { body } = await handle(get({ offline_token: 'true' }, { certificate }))
  const form = { grant_type: 'refresh_token', refresh_token: String(body['refresh_token']) }
  t.equal(await codeOf(handle(post(form, { certificate }))), 'answered')
  const strict = open({ require: 'all' })
  t.equal(await codeOf(strict.handle(post(form, { certificate }))), '401 login')
})

t.test('a refresh token got by a certificate alone is bound to it, whatever is said', async (t) => {
  const { handle } = service(t, { bindToCertificate: false })
  const { body } = await handle(get({ offline_token: 'true' }, { certificate }))
  t.match(decodeJwt(String(body['refresh_token'])), {
    cnf: { 'x5t#S256': certificate.thumbprint },
  })
})

t.test('a refresh token of ours without an end, or of great length, is none', async (t) => {
  const { handle, key } = service(t)
  const keys = openTokenKeys({ file: key, rotateEvery: 90 * 86_400_000, log })
  t.teardown(async () => keys.source.close())
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: 'portcullis',
    aud: 'portcullis/token',
    sub: 'x',
    exp: now + 60,
    cnf: { 'x5t#S256': certificate.thumbprint },
  }
  const status = async (more: object, source: string) => {
    const refresh_token = await keys.sign({ ...claims, ...more }, 'refresh+jwt')
    const form = { grant_type: 'refresh_token', refresh_token }
    return codeOf(handle(post(form, { certificate, source })))
  }
  t.equal(await status({}, '10.2.0.1'), 'answered')
  t.equal(await status({ exp: undefined }, '10.2.0.2'), '401 login')
  t.equal(await status({ filler: 'x'.repeat(9000) }, '10.2.0.3'), '401 login')
})

t.test('POST: by password, then by refresh token', async (t) => {
  const { handle } = service(t)
  const first = await handle(
    post({
      grant_type: 'password',
      client_id: 'test',
      service: 'portcullis',
      username: 'alice',
      password: 'secret',
      scope: `${scope} repository:denied:pull`,
      access_type: 'offline',
    }),
  )
  t.equal(first.body['scope'], scope)
  const refresh = String(first.body['refresh_token'])
  const second = await handle(
    post({ grant_type: 'refresh_token', refresh_token: refresh, service: 'portcullis', scope }),
  )
  t.match(decodeJwt(String(second.body['token'])), { sub: 'alice' })
  t.equal(await codeOf(handle(post({ grant_type: 'client_credentials' }))), '400 REQUEST_INVALID')
  t.equal(await codeOf(handle(post({}))), '400 REQUEST_INVALID')
})

t.test('a refresh token opens no repository, and an access token gets no other', async (t) => {
  const { handle, issuer } = service(t)
  const query = { scope, offline_token: 'true' }
  const { body } = await handle(get(query, basic('alice', 'secret')))
  const verifier = createBearerVerifier([issuer])
  t.match(await verifier.verify(String(body['refresh_token'])), { kind: 'invalid' })
  const form = { grant_type: 'refresh_token', refresh_token: String(body['token']) }
  t.equal(await codeOf(handle(post(form))), '401 login')
  for (const refresh_token of ['', 'x', 'a.b.c', 'x'.repeat(10_000)]) {
    const source = `10.1.0.${refresh_token.length % 250}`
    t.equal(await codeOf(handle(post({ ...form, refresh_token }, { source }))), '401 login')
  }
})

t.test('a refresh token ends with the password, and with its time', async (t) => {
  let time = Date.now()
  const { handle, open, write } = service(t, {}, { now: () => time })
  const { body } = await handle(get({ offline_token: 'true' }, basic('alice', 'secret')))
  const form = { grant_type: 'refresh_token', refresh_token: String(body['refresh_token']) }
  t.equal(await codeOf(open().handle(post(form))), 'answered', 'it outlives a restart')
  write('changed')
  t.equal(await codeOf(open().handle(post(form))), '401 login')
  time += 2 * 86_400_000
  t.equal(await codeOf(handle(post(form))), '401 login')
})

t.test('a refresh token got with a certificate is good with it only', async (t) => {
  const { handle } = service(t)
  for (const credentials of [{}, basic('alice', 'secret')]) {
    const { body } = await handle(get({ offline_token: 'true' }, { certificate, ...credentials }))
    const form = { grant_type: 'refresh_token', refresh_token: String(body['refresh_token']) }
    t.equal(await codeOf(handle(post(form, { certificate }))), 'answered')
    const elsewhere = { certificate: other, source: '10.0.0.3' }
    t.equal(await codeOf(handle(post(form, elsewhere))), '401 login')
    t.equal(await codeOf(handle(post(form, { source: '10.0.0.4' }))), '401 login')
  }
})

t.test('a token for another service is not ours to give', async (t) => {
  const { handle } = service(t)
  const request = get({ service: 'elsewhere' }, basic('alice', 'secret'))
  t.equal(await codeOf(handle(request)), '400 REQUEST_INVALID')
})

t.test('the password file: every wrong line is told', async (t) => {
  const bob = `bob:${hashSync('b', 4)}`
  const lines = ['nothing', 'a:$apr1$x$y', bob, bob, ':x', `c:$2y$15$${'.'.repeat(53)}`]
  const folder = t.testdir({ users: lines.join('\n') })
  t.throws(() => readPasswords(join(folder, 'users')), UsageError)
  t.throws(
    () => readPasswords(join(folder, 'users')),
    /line 1 is not.*\n.*line 2 has no bcrypt.*\n.*line 4 names.*\n.*line 5 is not.*\n.*line 6 costs/,
  )
  t.throws(() => readPasswords(join(folder, 'none')), /tokenService\.htpasswd: cannot read/)
})
