// Threats by tokens and passwords: forged, stolen, guessed.
import { createHash, createHmac, X509Certificate } from 'node:crypto'
import { hashSync } from 'bcryptjs'
import { exportSPKI, generateKeyPair, importJWK, SignJWT, type CryptoKey } from 'jose'
import { issueCertificate } from '../../src/pki/authority.ts'
import { createIssuer } from '../helpers/tokens.ts'
import { manifestPath, nothingLeaked, pki, startSite, threat } from './site.ts'

const idp = await createIssuer()
const now = Math.floor(Date.now() / 1000)
const yaml = `auth: { require: token, issuers: [{ issuer: '${idp.issuer}', audience: portcullis, jwks: jwks.json }] }`
const files = { 'jwks.json': JSON.stringify(idp.jwks) }
const bearer = (token: string) => ({ client: null, headers: { authorization: `Bearer ${token}` } })
const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const claims = { iss: idp.issuer, aud: 'portcullis', sub: 'alice', iat: now, exp: now + 300 }

async function forged(): Promise<Record<string, string>> {
  const key = (await importJWK(idp.publicJwk, 'ES256')) as CryptoKey
  const spki = await exportSPKI(key)
  const own = await generateKeyPair('ES256', { extractable: true })
  const hmac = `${part({ alg: 'HS256', kid: 'key-1' })}.${part(claims)}`
  const right = await idp.sign()
  const [head = '', body = '', signature = ''] = right.split('.')
  return {
    none: `${part({ alg: 'none' })}.${part(claims)}.`,
    'HS256 with the public key': `${hmac}.${createHmac('sha256', spki).update(hmac).digest('base64url')}`,
    'jwk in the header': await new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', jwk: idp.publicJwk })
      .sign(own.privateKey),
    'another key': await new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', kid: 'key-1' })
      .sign(own.privateKey),
    'unknown crit': await idp
      .sign({}, { crit: ['b64x'], b64x: true })
      .catch(() => `${part({ alg: 'ES256', kid: 'key-1', crit: ['b64x'] })}.${body}.${signature}`),
    'wrong audience': await idp.sign({ aud: 'other' }),
    'wrong issuer': await idp.sign({ iss: 'https://other.example' }),
    'no exp': await idp.sign({ exp: undefined }),
    expired: await idp.sign({ exp: now - 60 }),
    'future nbf': await idp.sign({ nbf: now + 3600 }),
    'altered payload': `${head}.${part({ ...claims, sub: 'root' })}.${signature}`,
    'no signature': `${head}.${body}.`,
    garbage: 'QQ==',
  }
}

threat('a forged token', async (t) => {
  for (const [name, token] of Object.entries(await forged())) {
    // One each: many from one address are slowed down.
    const site = await startSite(t, { yaml, files })
    t.equal((await site.send(manifestPath, bearer(await idp.sign()))).status, 200)
    const asked = site.upstream.requests.length
    const answer = await site.send(manifestPath, bearer(token))
    t.equal(answer.status, 401, name)
    t.match(answer.headers['www-authenticate'], 'error="invalid_token"', name)
    nothingLeaked(t, answer.body)
    t.match(site.audit(), { audit: 'refused', reason: /^token_/ })
    t.equal(site.upstream.requests.length, asked)
    t.notMatch(JSON.stringify(site.lines), /eyJ/, 'no token is in the log')
  }
})

threat('a stolen token that is bound to a certificate', async (t) => {
  const site = await startSite(t, { yaml, files })
  const thief = await issueCertificate(pki.ca, { profile: 'client', commonName: 'thief' })
  const thumbprint = createHash('sha256')
    .update(new X509Certificate(pki.client.certificatePem).raw)
    .digest('base64url')
  const headers = {
    authorization: `Bearer ${await idp.sign({ cnf: { 'x5t#S256': thumbprint } })}`,
  }
  t.equal((await site.send(manifestPath, { headers })).status, 200, 'its owner')
  for (const client of [thief, null]) {
    const answer = await site.send(manifestPath, { headers, client })
    t.equal(answer.status, 401)
    nothingLeaked(t, answer.body)
  }
  const unknown = await idp.sign({ cnf: { jkt: 'abc' } })
  t.equal((await site.send(manifestPath, bearer(unknown))).status, 401, 'another confirmation')
})

const accounts = {
  yaml: `auth: { require: token, tokenService: { key: token.key, htpasswd: users } }`,
  files: { users: `alice:${hashSync('right', 4)}\nbob:${hashSync('other', 4)}\n` },
}
const login = (user: string, password: string) => ({
  client: null,
  headers: { authorization: `Basic ${btoa(`${user}:${password}`)}` },
})

threat('passwords guessed', async (t) => {
  const site = await startSite(t, accounts)
  const ask = async (user: string, password: string) =>
    (await site.send('/token?service=portcullis', login(user, password))).status
  t.equal(await ask('alice', 'right'), 200)
  t.equal(await ask('bob', 'right'), 401, "another's password")
  const statuses: number[] = []
  for (let turn = 0; turn < 60; turn += 1) statuses.push(await ask('alice', `wrong-${turn}`))
  t.ok(statuses.includes(429), 'guessing is slowed down')
  t.equal(await ask('alice', 'right'), 429, 'and the right one gets the same answer')
  t.notMatch(JSON.stringify(site.lines), /wrong-1|btoa/, 'no password is in the log')
})

threat("a neighbour's failures", async (t) => {
  const site = await startSite(t, {
    yaml: yaml.replace('require: token', 'require: all'),
    files,
  })
  for (let turn = 0; turn < 60; turn += 1) await site.send(manifestPath, bearer(`bad-${turn}`))
  const thumbprint = createHash('sha256')
    .update(new X509Certificate(pki.client.certificatePem).raw)
    .digest('base64url')
  const token = await idp.sign({ cnf: { 'x5t#S256': thumbprint } })
  const answer = await site.send(manifestPath, { headers: { authorization: `Bearer ${token}` } })
  t.equal(answer.status, 200, 'a good certificate with its own token is served')
})

threat('a token that nobody asked for beside a certificate that suffices', async (t) => {
  for (const require of ['none', 'any', 'certificate']) {
    const site = await startSite(t, {
      yaml: yaml.replace('require: token', `require: ${require}`),
      files,
    })
    const headers = { authorization: 'Bearer QQ==' }
    t.equal((await site.send(manifestPath, { headers })).status, 200, require)
  }
})
