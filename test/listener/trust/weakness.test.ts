// Certificates too weak for OpenSSL, over real handshakes: refused under a name of their own.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { callerOf } from '../../../src/identity/certificate.ts'
import { readTlsFiles } from '../../../src/listener/tls-files.ts'
import { makeCertificate, makeRsaKeys, type TestCertificate } from '../../helpers/certificates.ts'
import { exchange, makeSite, startListener, type Site } from '../../helpers/listener.ts'

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
