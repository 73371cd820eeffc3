import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import { KeyUsageFlags, KeyUsagesExtension, X509CertificateGenerator } from '@peculiar/x509'
import t from 'tap'
import { parseCaller } from '../../src/cli/caller.ts'
import { alternativeNameProblems } from '../../src/pki/name-rules.ts'
import { isSpiffeId, spiffeIdOf } from '../../src/rules/spiffe.ts'

async function leaf(usages: KeyUsageFlags): Promise<Buffer> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(algorithm, false, ['sign', 'verify'])
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: 'CN=leaf',
    keys,
    signingAlgorithm: algorithm,
    extensions: [new KeyUsagesExtension(usages, true)],
  })
  return Buffer.from(certificate.rawData)
}

const id = 'spiffe://example.org/ns/prod/sa/app'
const signer = await leaf(KeyUsageFlags.digitalSignature)

t.test('a valid SVID', async (t) => {
  t.same(spiffeIdOf(signer, [id]), { spiffeId: id })
})

t.test('one that signs others is none', async (t) => {
  const usages = [KeyUsageFlags.keyCertSign, KeyUsageFlags.cRLSign]
  for (const usage of usages) {
    t.same(spiffeIdOf(await leaf(KeyUsageFlags.digitalSignature | usage), [id]), {})
  }
  t.same(spiffeIdOf(Buffer.from('no certificate'), [id]), {})
})

const invalid: string[][] = [
  [],
  [id, 'https://example.org'],
  [id, id],
  ['spiffe://example.org'],
  ['spiffe://example.org/'],
  ['spiffe://Example.org/a'],
  ['spiffe://example.org:80/a'],
  ['spiffe://me@example.org/a'],
  ['spiffe:///a'],
  ['spiffe://example.org/a/'],
  ['spiffe://example.org//a'],
  ['spiffe://example.org/../a'],
  ['spiffe://example.org/a%2fb'],
  ['spiffe://example.org/a?b'],
  ['SPIFFE://example.org/a'],
  [`spiffe://example.org/${'a'.repeat(2048)}`],
]

for (const uris of invalid) {
  t.test(`${JSON.stringify(uris).slice(0, 60)} is no SPIFFE ID`, async (t) => {
    t.same(spiffeIdOf(signer, uris), {})
  })
}

t.test('one judgement of an ID, for certificates, issuing and the command line', async (t) => {
  const wrong = [
    'spiffe://example.org',
    'spiffe://example.org/',
    'spiffe://example.org//app',
    'spiffe://example.org/../app',
    'spiffe://example.org/./app',
    'spiffe://Example.org/app',
    'spiffe://example.org:1/app',
    'SPIFFE://example.org/app',
    'spiffe:example.org/app',
    'spiffe:///app',
    `spiffe://example.org/${'x'.repeat(2048)}`,
  ]
  for (const uri of [id, ...wrong]) {
    const isRight = uri === id
    t.equal(isSpiffeId(uri), isRight, uri)
    t.equal(alternativeNameProblems({ uris: [uri] }).length, isRight ? 0 : 1, `pki: ${uri}`)
    const { certificate } = parseCaller([`uri=${uri}`])
    t.equal(certificate?.spiffeId, isRight ? uri : undefined, `check --as: ${uri}`)
  }
})
