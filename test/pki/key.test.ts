// Keys read back, whatever made and encrypted them.
import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { generateKey, keyAlgorithms, privateKeyPem, readKey } from '../../src/pki/key.ts'
import { createAuthority, authorityOf, issueCertificate } from '../../src/pki/authority.ts'

t.test('each kind of key survives a file, plain and encrypted, and signs again', async (t) => {
  for (const algorithm of keyAlgorithms) {
    const key = await generateKey(algorithm)
    const plain = privateKeyPem(key)
    t.match(plain, /^-----BEGIN PRIVATE KEY-----/)
    const encrypted = privateKeyPem(key, 'secret word')
    t.match(encrypted, /^-----BEGIN ENCRYPTED PRIVATE KEY-----/)
    t.equal(privateKeyPem(readKey(plain)), plain, algorithm)
    t.equal(privateKeyPem(readKey(encrypted, 'secret word')), plain, `${algorithm}, encrypted`)
    const { certificate, key: made } = await createAuthority({ commonName: 'CA', algorithm })
    const again = await authorityOf(certificate, readKey(privateKeyPem(made)), false)
    const issued = await issueCertificate(again, { profile: 'client', commonName: 'x' })
    t.match(issued.certificatePem, /BEGIN CERTIFICATE/)
  }
})

t.test("other tools' forms are read: SEC1, PKCS#1, OpenSSL's own encryption", async (t) => {
  const ec = generateKeyPairSync('ec', { namedCurve: 'secp521r1' }).privateKey
  t.equal(readKey(String(ec.export({ type: 'sec1', format: 'pem' }))).signing.hash, 'SHA-512')
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  t.equal(readKey(String(rsa.export({ type: 'pkcs1', format: 'pem' }))).signing.hash, 'SHA-256')
  const pem = rsa.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-128-cbc', passphrase: 'x' })
  t.equal(readKey(String(pem), 'x').signing.name, 'RSASSA-PKCS1-v1_5')
})

t.test('what cannot sign is refused, and why', async (t) => {
  const pemOf = (key: ReturnType<typeof generateKeyPairSync>['privateKey']) =>
    String(key.export({ type: 'pkcs8', format: 'pem' }))
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey
  t.throws(() => readKey(pemOf(weak)), /weak key, RSA of 1024 bits/)
  const odd = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey
  t.throws(() => readKey(pemOf(odd)), /on the curve secp256k1/)
  t.throws(() => readKey(pemOf(generateKeyPairSync('x25519').privateKey)), /of the kind x25519/)
  t.throws(() => readKey('nonsense'), /has no usable PEM private key/)
})
