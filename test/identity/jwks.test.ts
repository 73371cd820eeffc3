import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { jwtVerify } from 'jose'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import { createKeySource } from '../../src/identity/jwks.ts'
import { UsageError } from '../../src/errors.ts'
import { makeCertificate } from '../helpers/certificates.ts'
import { createIssuer, serveKeys } from '../helpers/tokens.ts'

const minute = 60_000
const log = pino({ level: 'silent' })
const issuer = 'https://idp.example'

async function site(t: Test, answer: () => object | number) {
  const ca = await makeCertificate({ subject: 'CN=ca', ca: true })
  const certificate = await makeCertificate({
    subject: 'CN=idp',
    issuer: ca,
    purposes: ['server'],
    dnsNames: ['localhost'],
  })
  const jwksCa = join(t.testdir(), 'ca.pem')
  writeFileSync(jwksCa, ca.certificatePem)
  const keys = await serveKeys(t, certificate, answer)
  const clock = { time: 0 }
  const config = { issuer, jwks: keys.url, jwksCa }
  const source = createKeySource(config, { at: 'auth.issuers.0', log, now: () => clock.time })
  t.teardown(async () => source.close())
  return { keys, clock, source, jwksCa }
}

t.test('keys are fetched once, and again when they are old', async (t) => {
  const idp = await createIssuer()
  const { keys, clock, source } = await site(t, () => idp.jwks)
  const token = await idp.sign()
  await Promise.all([1, 2, 3].map(async () => jwtVerify(token, source.key)))
  await jwtVerify(token, source.key)
  t.equal(keys.requests, 1)
  clock.time += 11 * minute
  await jwtVerify(token, source.key)
  await until(() => keys.requests === 2)
})

t.test('an unknown key id costs at most one request a minute', async (t) => {
  const [old, fresh] = [await createIssuer(issuer), await createIssuer(issuer, { kid: 'key-2' })]
  let rotated = false
  const { keys, clock, source } = await site(t, () => (rotated ? fresh.jwks : old.jwks))
  await jwtVerify(await old.sign(), source.key)
  const token = await fresh.sign()
  for (let i = 0; i < 20; i += 1) await t.rejects(jwtVerify(token, source.key))
  t.equal(keys.requests, 1)
  clock.time += minute
  await Promise.all([1, 2, 3].map(async () => t.rejects(jwtVerify(token, source.key))))
  for (let i = 0; i < 20; i += 1) await t.rejects(jwtVerify(token, source.key))
  t.equal(keys.requests, 2)
  rotated = true
  clock.time += minute
  await jwtVerify(token, source.key)
  t.equal(keys.requests, 3)
})

t.test('known keys outlive the issuer', async (t) => {
  const idp = await createIssuer()
  let answer: object | number = idp.jwks
  const { keys, clock, source } = await site(t, () => answer)
  const token = await idp.sign()
  await jwtVerify(token, source.key)
  for (const outage of [503, {}, { keys: [] }, { keys: [{ kty: 'oct', k: 'AA' }] }]) {
    answer = outage
    const before = keys.requests
    clock.time += 60 * minute
    await jwtVerify(token, source.key)
    await until(() => keys.requests > before)
    await jwtVerify(token, source.key)
  }
})

t.test('an issuer that was never there is asked again soon', async (t) => {
  const idp = await createIssuer()
  let answer: object | number = 503
  const { keys, clock, source } = await site(t, () => answer)
  const token = await idp.sign()
  await t.rejects(jwtVerify(token, source.key), { name: 'KeysUnavailable' })
  answer = idp.jwks
  await t.rejects(jwtVerify(token, source.key), { name: 'KeysUnavailable' })
  t.equal(keys.requests, 1)
  clock.time += 5000
  await jwtVerify(token, source.key)
})

t.test('only the configured CA is trusted, and redirects are not followed', async (t) => {
  const idp = await createIssuer()
  const { keys } = await site(t, () => idp.jwks)
  const source = createKeySource({ issuer, jwks: keys.url }, { at: 'x', log })
  t.teardown(async () => source.close())
  await t.rejects(jwtVerify(await idp.sign(), source.key), { name: 'KeysUnavailable' })
  t.equal(keys.requests, 0)
  const moved = await site(t, () => 302)
  await t.rejects(jwtVerify(await idp.sign(), moved.source.key), { name: 'KeysUnavailable' })
})

t.test('keys from a file', async (t) => {
  const idp = await createIssuer()
  const [key] = idp.jwks.keys
  const many = { keys: Array.from({ length: 101 }, (_, at) => ({ ...key, kid: `${at}` })) }
  const folder = t.testdir({
    'good.json': JSON.stringify(idp.jwks),
    'bad.json': '{}',
    'many.json': JSON.stringify(many),
  })
  const open = (name: string) =>
    createKeySource({ issuer, jwks: join(folder, name) }, { at: 'auth.issuers.0', log })
  await jwtVerify(await idp.sign(), open('good.json').key)
  t.throws(() => open('bad.json'), UsageError)
  t.throws(() => open('many.json'), UsageError, 'more keys than a token is held against')
  t.throws(() => open('none.json'), /auth\.issuers\.0\.jwks: cannot read/)
})

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
}

t.test('authorities by which no issuer could be reached are refused at the start', async (t) => {
  const file = join(t.testdir(), 'ca.pem')
  const past = { notBefore: new Date(0), notAfter: new Date(Date.now() - minute) }
  const root = await makeCertificate({ subject: 'CN=Root', ca: true })
  const issuing = await makeCertificate({ subject: 'CN=Issuing', issuer: root, ca: true })
  const old = await makeCertificate({ subject: 'CN=Old', ca: true, ...past })
  const open = () =>
    createKeySource(
      { issuer, jwks: 'https://idp.example/keys', jwksCa: file },
      { at: 'auth.issuers.0', log },
    )
  for (const [content, said] of [
    ['', /it is empty/],
    ['garbage', /no PEM certificate/],
    [Buffer.from(root.certificate.rawData), /it is DER/],
    [root.keyPem, /it is a private key/],
    [old.certificatePem, /has expired/],
    [issuing.certificatePem, /CN=Root, which has issued it, is missing/],
    [root.certificatePem + root.certificatePem.slice(0, 100), /certificate 2 of 2 is unreadable/],
  ] as const) {
    writeFileSync(file, content)
    const thrown = t.throws(open, UsageError)
    t.match(thrown, { problems: [{ path: 'auth.issuers.0.jwksCa', message: said }] })
  }
  writeFileSync(file, old.certificatePem + root.certificatePem)
  await open().close()
})
