// PKCS#12 files as other programs read them: OpenSSL 3, NSS (which Firefox and Chromium use), curl.
import { spawnSync } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { keyAlgorithms, type KeyAlgorithm } from '../../src/pki/key.ts'
import { pkcs12Of } from '../../src/pki/encryption.ts'
import { createAuthority, issueCertificate } from '../../src/pki/authority.ts'
import { openssl } from '../helpers/pki.ts'
import { optionsFor } from '../requirements.ts'

const suite = optionsFor('pkcs12')

async function makeFile(t: Test, algorithm: KeyAlgorithm, passphrase: string) {
  const ca = await createAuthority({ commonName: 'Test CA', algorithm })
  const { certificatePem, keyPem } = await issueCertificate(ca, {
    profile: 'client',
    commonName: 'Édith',
    algorithm,
  })
  const certificates = [certificatePem, ca.certificatePem].map(
    (pem) => new X509Certificate(pem).raw,
  )
  const key = createPrivateKey(keyPem).export({ type: 'pkcs8', format: 'der' })
  const folder = t.testdir({ db: {} })
  const file = join(folder, 'edith.p12')
  writeFileSync(file, pkcs12Of({ friendlyName: 'Édith', certificates, key }, passphrase))
  return { folder, file, certificatePem, keyPem }
}

for (const algorithm of keyAlgorithms) {
  t.test(`OpenSSL reads a file with a ${algorithm} key`, suite, async (t) => {
    const { file, certificatePem, keyPem } = await makeFile(t, algorithm, 'a b c')
    const read = openssl(['pkcs12', '-in', file, '-passin', 'pass:a b c', '-nodes', '-info'])
    t.equal(read.status, 0)
    t.match(read.stderr, /MAC: sha256, Iteration 100000/)
    t.match(read.stderr, /PBES2, PBKDF2, AES-256-CBC, Iteration 600000, PRF hmacWithSHA256/)
    t.match(read.stdout, /friendlyName: /)
    t.equal(read.stdout.match(/BEGIN CERTIFICATE/g)?.length, 2)
    t.ok(read.stdout.includes(certificatePem.trim()))
    t.ok(read.stdout.includes(keyPem.trim()))
    const wrong = openssl(['pkcs12', '-in', file, '-passin', 'pass:wrong', '-noout'])
    t.match(wrong.stderr, /Mac verify error: invalid password/)
  })
}

t.test('a passphrase beyond ASCII', suite, async (t) => {
  const { file } = await makeFile(t, 'P-256', 'pässwörd €')
  t.equal(openssl(['pkcs12', '-in', file, '-passin', 'pass:pässwörd €', '-noout']).status, 0)
})

for (const algorithm of ['P-256', 'RSA-3072'] as const) {
  t.test(
    `NSS imports a file with a ${algorithm} key, which belongs to its user`,
    suite,
    async (t) => {
      const { folder, file } = await makeFile(t, algorithm, 'secret')
      const db = `sql:${join(folder, 'db')}`
      mkdirSync(join(folder, 'db'), { recursive: true })
      const nss = (program: string, args: string[]) =>
        spawnSync(program, ['-d', db, ...args], { encoding: 'utf8' })
      nss('certutil', ['-N', '--empty-password'])
      const imported = nss('pk12util', ['-i', file, '-W', 'secret', '-K', ''])
      t.match(imported.stdout, /PKCS12 IMPORT SUCCESSFUL/, imported.stderr)
      const listed = nss('certutil', ['-L'])
      t.match(listed.stdout, /^Édith +u,u,u$/m, 'with its key')
      t.match(nss('certutil', ['-K']).stdout, /Édith/)
    },
  )
}
