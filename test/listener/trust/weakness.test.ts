// Certificates too weak for OpenSSL, over real handshakes: refused under a name of their own.
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { callerOf } from '../../../src/identity/certificate.ts'
import { readTlsFiles } from '../../../src/listener/tls-files.ts'
import { hasWeakKey, weaknessOf } from '../../../src/listener/trust/weakness.ts'
import { makeCertificate, makeRsaKeys, type TestCertificate } from '../../helpers/certificates.ts'
import { exchange, makeSite, startListener, type Site } from '../../helpers/listener.ts'
import { optionsFor } from '../../requirements.ts'

const get = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'

interface Weak {
  name: string
  reason: 'weak_key' | 'weak_algorithm' | 'invalid'
  client: TestCertificate
  /** What it sends behind its own. */
  chain?: string
}

async function weakClients({ ca }: Site, weakCa: TestCertificate): Promise<Weak[]> {
  const client = { subject: 'CN=edge-1', issuer: ca, purposes: ['client' as const] }
  const small = await makeRsaKeys(1024)
  const middle = { subject: 'CN=Issuing', issuer: ca, ca: true }
  const smallMiddle = await makeCertificate({ ...middle, keys: small })
  const oldMiddle = await makeCertificate({ ...middle, hash: 'SHA-1' })
  const under = (issuer: TestCertificate) => makeCertificate({ ...client, issuer })
  return [
    {
      name: 'RSA-1024',
      reason: 'weak_key',
      client: await makeCertificate({ ...client, keys: small }),
    },
    {
      name: 'signed over SHA-1',
      reason: 'weak_algorithm',
      client: await makeCertificate({ ...client, hash: 'SHA-1' }),
    },
    {
      name: 'an authority with RSA-1024 between',
      reason: 'weak_key',
      client: await under(smallMiddle),
      chain: smallMiddle.certificatePem,
    },
    {
      name: 'an authority between that is signed over SHA-1',
      reason: 'weak_algorithm',
      client: await under(oldMiddle),
      chain: oldMiddle.certificatePem,
    },
    { name: 'a root with RSA-1024', reason: 'weak_key', client: await under(weakCa) },
    {
      name: 'wrong in another way that Node has no name for',
      reason: 'invalid',
      client: await makeCertificate({ ...client, issuer: ca, unknownExtension: true }),
    },
  ]
}

for (const clientAuth of ['required', 'optional'] as const) {
  t.test(`what is too weak is called so: ${clientAuth}`, { timeout: 60_000 }, async (t) => {
    const site = await makeSite(t, { clientAuth })
    const weakCa = await makeCertificate({
      subject: 'CN=Old CA',
      ca: true,
      keys: await makeRsaKeys(1024),
    })
    const file = join(site.folder, 'old-ca.crt')
    writeFileSync(file, weakCa.certificatePem)
    const tls = { ...site.tls, clientCa: [...site.tls.clientCa, file] }
    t.match(readTlsFiles(tls, 'listen.tls').warnings, [
      /^listen\.tls\.clientCa: the key of CN=Old CA in .*old-ca\.crt is too weak/,
    ])
    const listener = await startListener(t, { tls }, (req, res) => {
      const caller = callerOf(req.socket)
      res.end(caller.kind === 'refused' ? caller.reason : caller.kind)
    })
    for (const { name, reason, client, chain = '' } of await weakClients(site, weakCa)) {
      for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
        const failed = listener.nextFailure()
        const { text } = await exchange(
          {
            port: listener.port,
            ca: site.ca.certificatePem,
            cert: client.certificatePem + chain,
            key: client.keyPem,
            // This end has nothing against it.
            ciphers: 'DEFAULT:@SECLEVEL=0',
            minVersion: version,
            maxVersion: version,
          },
          get,
        )
        const told = clientAuth === 'required' ? await failed : text.split('\r\n\r\n')[1]
        t.equal(told, reason, `${name}, ${version}`)
      }
    }
  })
}

t.test('keys of kinds that few have', { ...optionsFor('pki'), timeout: 90_000 }, (t) => {
  const folder = t.testdir()
  const sh = (command: string) => execFileSync('sh', ['-ec', command], { stdio: 'ignore' })
  /** Signs itself: `kind` makes the key, `digest` is what the signature is made over. */
  const make = (name: string, kind: string, digest: string): X509Certificate => {
    const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)]
    // The bits of DSA come last.
    sh(`openssl ${kind.replace(' ', ` -out ${key} `)}`)
    sh(`openssl req -x509 -key ${key} ${digest} -subj /CN=${name} -days 1 -out ${cert}`)
    return new X509Certificate(readFileSync(cert))
  }
  const pss = (bits: number) => `genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:${bits}`
  const dsa = (bits: number) => `dsaparam -genkey -noout ${bits}`
  for (const [certificate, isWeak] of [
    [make('pss-1024', pss(1024), '-sha256'), true],
    [make('pss-2048', pss(2048), '-sha256'), false],
    [make('dsa-1024', dsa(1024), '-sha256'), true],
    [make('dsa-2048', dsa(2048), '-sha256'), false],
    [make('ed25519', 'genpkey -algorithm ED25519', ''), false],
    [make('p-192', 'ecparam -genkey -noout -name prime192v1', '-sha256'), true],
    [make('brainpool', 'ecparam -genkey -noout -name brainpoolP256r1', '-sha256'), false],
  ] as const) {
    t.equal(hasWeakKey(certificate), isWeak, certificate.subject)
    t.equal(weaknessOf([certificate], []), isWeak ? 'EE_KEY_TOO_SMALL' : undefined)
  }
  for (const kind of [pss(2048), dsa(2048)]) {
    const root = make('old', kind, '-sha1')
    t.equal(weaknessOf([root], []), undefined, 'the signature of a root says nothing')
    const issued = join(folder, 'issued.crt')
    const by = `-CA ${join(folder, 'old.crt')} -CAkey ${join(folder, 'old.key')} -sha1`
    const request = `openssl req -new -key ${join(folder, 'pss-2048.key')} -subj /CN=edge-1`
    sh(`${request} | openssl x509 -req ${by} -days 1 -out ${issued}`)
    t.equal(weaknessOf([new X509Certificate(readFileSync(issued))], [root]), 'CA_MD_TOO_WEAK')
  }
  t.end()
})
