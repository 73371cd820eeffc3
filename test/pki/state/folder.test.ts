// A state folder over its life: OpenSSL judges what is issued, renewed and revoked.
import { X509Certificate } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { inventory } from '../../../src/pki/state/inventory.ts'
import { found } from '../../../src/pki/init.ts'
import { readLedger } from '../../../src/pki/state/ledger.ts'
import { renew } from '../../../src/pki/renew.ts'
import { refreshCrl, revoke } from '../../../src/pki/revoke.ts'
import { issueClient, makeFolder, openssl, verify } from '../../helpers/pki.ts'
import { optionsFor } from '../../requirements.ts'

const suite = optionsFor('pki')

const byName = (name: string) => ({ which: { name }, reason: 'unspecified' as const })

for (const intermediate of [false, true]) {
  const kind = intermediate ? 'with an issuing authority' : 'with a root alone'
  t.test(
    `${kind}: OpenSSL accepts what is issued and refuses what is revoked`,
    suite,
    async (t) => {
      const dir = await makeFolder(t, intermediate)
      for (const name of ['edge-1', 'edge-2', 'edge-3']) await issueClient(dir, name)
      const server = { profile: 'server', dnsNames: ['gateway.local'] } as const
      await issueClient(dir, 'gateway.local', server)
      for (const name of ['edge-1', 'gateway.local']) t.equal(verify(dir, name), 'OK', name)
      const { revoked } = await revoke({ dir }, byName('edge-1'))
      t.same(
        revoked.map(({ name }) => name),
        ['edge-1'],
      )
      await revoke({ dir }, { which: { name: 'edge-2' }, reason: 'keyCompromise' })
      t.equal(verify(dir, 'edge-1'), 'certificate revoked')
      t.equal(verify(dir, 'edge-2'), 'certificate revoked')
      t.equal(verify(dir, 'edge-3'), 'OK')
    },
  )
}

t.test('the profile, as OpenSSL prints it', suite, async (t) => {
  const dir = await makeFolder(t)
  await issueClient(dir, 'edge-1', { uris: ['spiffe://example.org/edge-1'] })
  const text = openssl(['x509', '-in', join(dir, 'edge-1.crt'), '-noout', '-text']).stdout
  t.match(text, /Basic Constraints: critical\s+CA:FALSE/)
  t.match(text, /Key Usage: critical\s+Digital Signature\n/)
  t.match(text, /Extended Key Usage: \s+TLS Web Client Authentication\n/)
  t.match(text, /Subject Alternative Name: \s+URI:spiffe:\/\/example.org\/edge-1\n/)
  const ca = openssl(['x509', '-in', join(dir, 'ca.crt'), '-noout', '-text']).stdout
  t.match(ca, /Basic Constraints: critical\s+CA:TRUE/)
  t.match(ca, /Key Usage: critical\s+Certificate Sign, CRL Sign\n/)
  const keyId = /Subject Key Identifier: \s+(\S+)/.exec(ca)?.[1]
  t.ok(keyId !== undefined && text.includes(`Authority Key Identifier: \n                ${keyId}`))
})

t.test('the revocation list has its number, its signer and its reasons', suite, async (t) => {
  const dir = await makeFolder(t)
  await issueClient(dir, 'edge-1')
  await issueClient(dir, 'edge-2')
  await revoke({ dir }, byName('edge-1'))
  await revoke({ dir }, { which: { name: 'edge-2' }, reason: 'superseded' })
  const list = () => openssl(['crl', '-in', join(dir, 'ca.crl'), '-noout', '-text']).stdout
  const number = (text: string) => Number(/CRL Number: \s+(\d+)/.exec(text)?.[1])
  const text = list()
  t.match(text, /Authority Key Identifier/)
  t.match(text, /Reason Code: \s+Superseded/)
  t.equal(text.match(/Serial Number/g)?.length, 2)
  const raw = openssl(['asn1parse', '-in', join(dir, 'ca.crl')]).stdout
  t.notMatch(raw, /l= {3}0 cons: SEQUENCE/, 'no empty list of extensions')
  const signed = openssl([
    'crl',
    '-in',
    join(dir, 'ca.crl'),
    '-CAfile',
    join(dir, 'ca.crt'),
    '-noout',
  ])
  t.match(signed.stderr, /verify OK/)
  await refreshCrl({ dir }, 7)
  t.equal(number(list()), number(text) + 1, 'the number grows')
  rmSync(join(dir, 'ca.crl'))
  await refreshCrl({ dir })
  t.ok(number(list()) > 1_700_000_000, 'also where the list before is lost')
  t.equal(list().match(/Serial Number/g)?.length, 2, 'the ledger knows what is revoked')
  for (const days of [0, 1.5, NaN, 4000]) await t.rejects(refreshCrl({ dir }, days), /^days: /)
})

t.test('files: keys for the owner only, nothing temporary, one ledger line each', async (t) => {
  const dir = await makeFolder(t, true)
  const { files, entry } = await issueClient(dir, 'edge-1')
  t.same(files, [join(dir, 'edge-1.key'), join(dir, 'edge-1.crt')])
  t.same(readdirSync(dir).sort(), [
    '.lock',
    'ca.crl',
    'ca.crt',
    'ca.key',
    'edge-1.crt',
    'edge-1.key',
    'issued.jsonl',
    'issuing.crt',
    'issuing.key',
  ])
  for (const file of readdirSync(dir).filter((file) => file.endsWith('.key'))) {
    t.equal(statSync(join(dir, file)).mode & 0o777, 0o600, file)
  }
  const chain = readFileSync(join(dir, 'edge-1.crt'), 'utf8')
  t.equal(chain.match(/BEGIN CERTIFICATE/g)?.length, 2, 'the leaf and the issuing authority')
  const leaf = new X509Certificate(chain)
  t.equal(entry.serial, leaf.serialNumber)
  t.equal(entry.fingerprint, leaf.fingerprint256.replaceAll(':', '').toLowerCase())
  t.same(
    readLedger(dir).map(({ name }) => name),
    ['ca', 'issuing', 'edge-1'],
  )
})

t.test('renewal keeps the names, and the key unless a new one is asked for', suite, async (t) => {
  const dir = await makeFolder(t)
  const names = { dnsNames: ['edge-1.local'], ipAddresses: ['::1'], uris: ['spiffe://a.b/edge-1'] }
  const first = await issueClient(dir, 'edge-1', { ...names, days: 10, algorithm: 'P-384' })
  const keyFile = join(dir, 'edge-1.key')
  const key = readFileSync(keyFile, 'utf8')
  const kept = await renew({ dir }, 'edge-1', { newKey: false, days: 20 })
  const [before, after] = [first, kept].map(({ chainPem }) => new X509Certificate(chainPem))
  t.equal(after?.subject, before?.subject)
  t.equal(after?.subjectAltName, before?.subjectAltName)
  t.ok(after !== undefined && before !== undefined && after.validToDate > before.validToDate)
  t.equal(readFileSync(keyFile, 'utf8'), key)
  t.equal(kept.keyPem, key, 'the key is there to be handed over')
  const fresh = await renew({ dir }, 'edge-1', { newKey: true })
  t.not(readFileSync(keyFile, 'utf8'), key)
  t.equal(
    new X509Certificate(fresh.chainPem).publicKey.asymmetricKeyDetails?.namedCurve,
    'secp384r1',
  )
  t.equal(verify(dir, 'edge-1'), 'OK')
  const { revoked } = await revoke({ dir }, byName('edge-1'))
  t.equal(revoked.length, 3, 'who renewed is revoked with every certificate that still counts')
  t.equal(verify(dir, 'edge-1'), 'certificate revoked')
  await t.rejects(renew({ dir }, 'edge-1', { newKey: false }), /NAME: edge-1 was revoked/)
  await t.rejects(renew({ dir }, 'edge-9', { newKey: false }), /there is no edge-9.crt/)
})

t.test('an authority is renewed under everything that it has signed', suite, async (t) => {
  const dir = await makeFolder(t, true)
  await issueClient(dir, 'edge-1')
  const before = readFileSync(join(dir, 'ca.crt'), 'utf8')
  await renew({ dir }, 'ca', { newKey: false, days: 7000 })
  t.not(readFileSync(join(dir, 'ca.crt'), 'utf8'), before)
  t.equal(verify(dir, 'edge-1'), 'OK')
  await renew({ dir }, 'issuing', { newKey: false, days: 4000 })
  await issueClient(dir, 'edge-2', { days: 3900 })
  t.equal(verify(dir, 'edge-2'), 'OK')
  await t.rejects(renew({ dir }, 'ca', { newKey: true }), /another one/)
})

t.test('the root key in a safe: all but the root itself works without it', suite, async (t) => {
  const dir = await makeFolder(t, true)
  renameSync(join(dir, 'ca.key'), join(dir, '..', 'safe.key'))
  await issueClient(dir, 'edge-1')
  await issueClient(dir, 'edge-2')
  await revoke({ dir }, byName('edge-1'))
  t.equal(verify(dir, 'edge-1'), 'certificate revoked')
  t.equal(verify(dir, 'edge-2'), 'OK', "the root's own list is still there")
  await t.rejects(revoke({ dir }, byName('issuing')), /whose key is not here/)
  await t.rejects(renew({ dir }, 'issuing', { newKey: false }), /^ca.key: is missing/)
  renameSync(join(dir, '..', 'safe.key'), join(dir, 'ca.key'))
  await revoke({ dir }, byName('issuing'))
  t.equal(verify(dir, 'edge-2'), 'certificate revoked', 'an intermediate is revoked like a leaf')
  await t.rejects(revoke({ dir }, byName('ca')), /a root is in no list/)
})

t.test('encrypted authority keys need their passphrase', suite, async (t) => {
  const dir = join(t.testdir({}), 'certs')
  const folder = { dir, passphrase: 'pässwörd' }
  await found(folder, { commonName: 'CA', intermediate: false, algorithm: 'P-256' })
  const key = readFileSync(join(dir, 'ca.key'), 'utf8')
  t.match(key, /BEGIN ENCRYPTED PRIVATE KEY/)
  await t.rejects(issueClient(dir, 'edge-1'), /^ca.key: is encrypted/)
  await t.rejects(refreshCrl({ dir, passphrase: 'wrong' }), /^ca.key: cannot be decrypted/)
  t.notOk(readdirSync(dir).includes('edge-1.key'), 'nothing half written')
  await refreshCrl(folder)
  const read = openssl(['pkey', '-in', join(dir, 'ca.key'), '-passin', 'pass:pässwörd', '-noout'])
  t.equal(read.status, 0, 'OpenSSL decrypts it too')
})

t.test('an authority that is not whole is refused', async (t) => {
  const dir = await makeFolder(t)
  const other = join(dir, '..', 'other')
  await found({ dir: other }, { commonName: 'Test CA', intermediate: false, algorithm: 'P-256' })
  const key = readFileSync(join(dir, 'ca.key'))
  copyFileSync(join(other, 'ca.key'), join(dir, 'ca.key'))
  await t.rejects(issueClient(dir, 'x'), { message: /^ca.key: does not match ca.crt/ })
  writeFileSync(join(dir, 'ca.key'), 'nonsense')
  await t.rejects(issueClient(dir, 'x'), /^ca.key: has no usable PEM private key/)
  writeFileSync(join(dir, 'ca.key'), key)
  const { chainPem } = await issueClient(dir, 'edge-1')
  writeFileSync(join(dir, 'ca.crt'), chainPem)
  await t.rejects(issueClient(dir, 'x'), /^ca.crt: is no authority's certificate/)
  writeFileSync(join(dir, 'ca.crt'), 'nonsense')
  await t.rejects(issueClient(dir, 'x'), /^ca.crt: has no usable PEM certificate/)
  rmSync(join(dir, 'ca.crt'))
  await t.rejects(issueClient(dir, 'x'), /^--dir: .* has no authority/)
  t.same(
    readdirSync(dir).filter((file) => file.startsWith('x') || file.endsWith('.tmp')),
    [],
  )
  await t.rejects(
    found({ dir }, { commonName: 'CA', intermediate: false, algorithm: 'P-256' }),
    /^--dir: .* has an authority already \(ca.key\)/,
  )
})

t.test('a folder that may not be written to is told', async (t) => {
  // Not t.testdir: somebody else has to be able to get there.
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const dir = join(folder, 'certs')
  await found({ dir }, { commonName: 'CA', intermediate: false, algorithm: 'P-256' })
  for (const path of [dir, folder]) chmodSync(path, 0o555)
  const isRoot = process.geteuid?.() === 0
  // Permissions do not hold root back.
  if (isRoot) process.seteuid?.(65_534)
  try {
    await t.rejects(issueClient(dir, 'x'), {
      name: 'UsageError',
      message: `--dir: cannot write to ${dir}: permission denied`,
    })
    const other = join(folder, 'other')
    await t.rejects(
      found({ dir: other }, { commonName: 'CA', intermediate: false, algorithm: 'P-256' }),
      {
        message: `--dir: cannot write to ${other}: permission denied`,
      },
    )
  } finally {
    if (isRoot) process.seteuid?.(0)
    for (const path of [folder, dir]) chmodSync(path, 0o755)
  }
})

t.test('the ledger: a line that a crash cut off is dropped, a damaged one is told', async (t) => {
  const dir = await makeFolder(t)
  const file = join(dir, 'issued.jsonl')
  appendFileSync(file, '{"event":"issued","serial":"AB')
  await issueClient(dir, 'edge-1')
  t.same(
    readLedger(dir).map(({ name }) => name),
    ['ca', 'edge-1'],
  )
  appendFileSync(file, 'garbage\n')
  const before = readFileSync(file, 'utf8')
  await t.rejects(revoke({ dir }, byName('edge-1')), /line 3 of .* is damaged/)
  t.equal(readFileSync(file, 'utf8'), before)
})

t.test('the inventory: what ends first on top, with what became of it', async (t) => {
  const dir = await makeFolder(t)
  await issueClient(dir, 'short', { days: 2 })
  await issueClient(dir, 'long', { days: 400 })
  await issueClient(dir, 'gone', { days: 300 })
  await renew({ dir }, 'short', { newKey: false, days: 200 })
  await revoke({ dir }, byName('gone'))
  const now = new Date(Date.now() + 3 * 86_400_000)
  t.match(
    inventory(dir, now).map(({ name, status, daysLeft }) => [name, status, daysLeft]),
    [
      ['short', 'replaced', -2],
      ['ca.crl', 'valid', 86],
      ['short', 'valid', 196],
      ['gone', 'revoked', 296],
      ['long', 'valid', 396],
      ['ca', 'valid', 3646],
    ],
  )
  const later = new Date(Date.now() + 250 * 86_400_000)
  const statuses = Object.fromEntries(
    inventory(dir, later).map(({ name, status }) => [name, status]),
  )
  t.match(statuses, { 'ca.crl': 'expired', short: 'expired', long: 'valid' })
})
