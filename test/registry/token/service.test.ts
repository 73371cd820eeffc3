// The token endpoint, asked as its clients ask; over sockets it is in authorization.test.ts.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { hashSync } from 'bcryptjs'
import { decodeJwt } from 'jose'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import type { TokenServiceConfig } from '../../../src/config/access-schema.ts'
import { GatewayError, UsageError } from '../../../src/errors.ts'
import { createBearerVerifier } from '../../../src/identity/bearer.ts'
import type {
  CertificateIdentity,
  Identity,
  TokenIdentity,
} from '../../../src/identity/identity.ts'
import { createThrottle } from '../../../src/identity/throttle.ts'
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
  const open = () =>
    createTokenService({
      config: {
        key: join(folder, 'token.key'),
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
      throttle: createThrottle({ burst: 3, refill: 10_000 }),
      mayPull: (_identity, name) => name !== 'denied',
      ...options,
    })
  return { ...open(), open, write }
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
  const { handle } = service(t, {}, { throttle: createThrottle({ burst: 99, refill: 1 }) })
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
  const { handle } = createTokenService({
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
    throttle: createThrottle({ burst: 1, refill: 1 }),
    mayPull: () => true,
  })
  t.equal(await codeOf(handle(get({}))), '403 no_certificate')
  t.equal(await codeOf(handle(get({}, basic('alice', 'secret')))), '403 no_certificate')
  t.equal(await codeOf(handle(get({}, { certificate }))), 'answered')
})

t.test('after some failures a source has to wait, also with the right password', async (t) => {
  let time = 0
  const throttle = createThrottle({ burst: 3, refill: 10_000, now: () => time })
  const { handle } = service(t, {}, { throttle })
  await handle(get({}, basic('bob', 'b')))
  for (let i = 0; i < 3; i += 1) {
    t.equal(await codeOf(handle(get({}, basic('alice', 'wrong')))), '401 login')
  }
  t.equal(await codeOf(handle(get({}, basic('alice', 'secret')))), '429 throttled')
  t.equal(await codeOf(handle(get({}, basic('bob', 'b')))), 'answered', 'who logged in before may')
  t.equal(
    await codeOf(handle({ ...get({}, basic('alice', 'secret')), source: '10.0.0.2' })),
    'answered',
    'and so may others',
  )
  time += 10_000
  t.equal(await codeOf(handle(get({}, basic('alice', 'secret')))), 'answered')
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
