// PKCS#12 files under PBMAC1 (RFC 9579), as OpenSSL writes them from 3.4 on: put together here, because
// older ones do not.
import { execFileSync } from 'node:child_process'
import { createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { childrenOf, contentOf, elementAt } from '../../../src/listener/trust/der.ts'
import { readPkcs12 } from '../../../src/upstream/pkcs12/pkcs12.ts'
import { makeCertificate } from '../../helpers/certificates.ts'
import { der } from '../../helpers/raw-crl.ts'
import { optionsFor } from '../../requirements.ts'

const pbmac1 = '06092a864886f70d01050e'
const pbkdf2 = '06092a864886f70d01050c'
const hmacs = {
  sha256: der.sequence(der.hex('06082a864886f70d0209 0500')),
  sha512: der.sequence(der.hex('06082a864886f70d020b 0500')),
}

type Hash = keyof typeof hmacs

const passphrase = 'Grüße, κόσμε'
const client = await makeCertificate({ subject: 'CN=client', purposes: ['client'] })

/** A file without a MAC, and what a MAC is over. */
function unprotected(t: Test): { parts: Buffer; safe: Buffer } {
  const pem = join(t.testdir(), 'client.pem')
  writeFileSync(pem, client.certificatePem + client.keyPem)
  const to = ['-out', `${pem}.p12`, '-passout', `pass:${passphrase}`]
  execFileSync('openssl', ['pkcs12', '-export', '-nomac', '-in', pem, ...to])
  const file = readFileSync(`${pem}.p12`)
  const whole = elementAt(file, 0)
  const [, info] = childrenOf(file, whole)
  const [, wrapped] = info === undefined ? [] : childrenOf(file, info)
  const [content] = wrapped === undefined ? [] : childrenOf(file, wrapped)
  if (content === undefined) throw new Error('openssl wrote something else')
  return { parts: contentOf(file, whole), safe: contentOf(file, content) }
}

/** Key derivation by HMAC with `prf`, the MAC by HMAC with `hash`. */
function protectedBy(
  { parts, safe }: ReturnType<typeof unprotected>,
  { prf, hash, hasLength = true }: { prf: Hash; hash: Hash; hasLength?: boolean },
): Buffer {
  const [salt, iterations] = [randomBytes(16), 2048]
  const digest = createHmac(hash, pbkdf2Sync(passphrase, salt, iterations, 32, prf)).update(safe)
  const derivation = der.sequence(
    der.of(4, salt),
    der.hex('02020800'),
    ...(hasLength ? [der.hex('020120')] : []),
    hmacs[prf],
  )
  const parameters = der.sequence(der.sequence(der.hex(pbkdf2), derivation), hmacs[hash])
  const mac = der.sequence(
    der.sequence(der.sequence(der.hex(pbmac1), parameters), der.of(4, digest.digest())),
    der.of(4, Buffer.from('NOT USED')),
    der.hex('020101'),
  )
  return der.sequence(parts, mac)
}

t.test('is opened', optionsFor('upstream'), async (t) => {
  const file = unprotected(t)
  for (const kind of [
    { prf: 'sha256', hash: 'sha256' },
    { prf: 'sha256', hash: 'sha512' },
    { prf: 'sha512', hash: 'sha512' },
  ] as const) {
    const read = await readPkcs12(protectedBy(file, kind), passphrase)
    t.equal(read.cert.trim(), client.certificatePem.trim(), `${kind.prf}, ${kind.hash}`)
  }
})

t.test(
  'is refused under another passphrase, and without a key length',
  optionsFor('upstream'),
  async (t) => {
    const file = unprotected(t)
    const right = protectedBy(file, { prf: 'sha256', hash: 'sha256' })
    await t.rejects(readPkcs12(right, 'another'), /check the passphrase/)
    const without = protectedBy(file, { prf: 'sha256', hash: 'sha256', hasLength: false })
    await t.rejects(readPkcs12(without, passphrase), /RFC 9579/)
  },
)
