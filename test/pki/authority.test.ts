// What the authority issues, judged by a TLS connection and by Node's own reading of it.
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type ConnectionOptions, type TlsOptions } from 'node:tls'
import type { AddressInfo } from 'node:net'
import t, { type Test } from 'tap'
import { createAuthority, issueCertificate } from '../../src/pki/authority.ts'
import { keyAlgorithms } from '../../src/pki/key.ts'
import { testPki } from '../helpers/tls.ts'

interface Meeting {
  /** Common name that the server saw, or why the client was refused. */
  server: string
  /** Protocol, or the error's code. */
  client: string
}

/** One connection of a client to a server that asks for a certificate. */
async function meet(t: Test, server: TlsOptions, client: ConnectionOptions): Promise<Meeting> {
  const listener = createServer({ requestCert: true, rejectUnauthorized: true, ...server })
  t.teardown(() => listener.close())
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const seen = new Promise<string>((resolve) => {
    listener.once('secureConnection', (socket) => {
      socket.on('error', () => {})
      resolve(String(socket.getPeerCertificate().subject?.CN))
      socket.end('x')
    })
    listener.once('tlsClientError', (error, socket) => {
      resolve(String(socket.authorizationError ?? (error as NodeJS.ErrnoException).code))
    })
  })
  const { port } = listener.address() as AddressInfo
  const said = new Promise<string>((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, servername: 'localhost', ...client })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)))
    socket.once('close', () => resolve('closed'))
    socket.once('data', () => {
      resolve(String(socket.getProtocol()))
      socket.end()
    })
  })
  return { server: await seen, client: await said }
}

const pair = ({ certificatePem, keyPem }: { certificatePem: string; keyPem: string }) => ({
  cert: certificatePem,
  key: keyPem,
})

for (const algorithm of keyAlgorithms) {
  t.test(`${algorithm}: two-way TLS through an intermediate`, async (t) => {
    const root = await createAuthority({ commonName: 'Root', algorithm })
    const issuing = await createAuthority({ commonName: 'Issuing', algorithm, parent: root })
    const [server, client] = await Promise.all([
      issueCertificate(issuing, {
        profile: 'server',
        commonName: 'localhost',
        dnsNames: ['localhost'],
        algorithm,
      }),
      issueCertificate(issuing, { profile: 'client', commonName: 'edge-1', algorithm }),
    ])
    const ca = root.certificatePem
    t.same(await meet(t, { ...pair(server), ca }, { ...pair(client), ca }), {
      server: 'edge-1',
      client: 'TLSv1.3',
    })
    const swapped = await meet(t, { ...pair(server), ca }, { ...pair(server), ca })
    t.match(swapped.server, /purpose/i, 'a server certificate is none of a client')
  })
}

t.test('the test set meets as its names say', async (t) => {
  const pki = await testPki()
  const ca = pki.ca.certificatePem
  const good = { ...pair(pki.server), ca }
  const clientWith = async (one: keyof typeof pki) =>
    (await meet(t, good, { ...pair(pki[one]), ca })).server
  t.equal(await clientWith('client'), 'client')
  t.match(await clientWith('expiredClient'), /CERT_HAS_EXPIRED/)
  t.match(await clientWith('notYetValidClient'), /CERT_NOT_YET_VALID/)
  t.match(await clientWith('otherClient'), /UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/)
  const serverWith = async (one: keyof typeof pki) =>
    (await meet(t, { ...pair(pki[one]), ca }, { ...pair(pki.client), ca })).client
  t.equal(await serverWith('server'), 'TLSv1.3')
  t.equal(await serverWith('expiredServer'), 'CERT_HAS_EXPIRED')
  t.equal(await serverWith('wrongNameServer'), 'ERR_TLS_CERT_ALTNAME_INVALID')
  t.match(await serverWith('otherServer'), /UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER/)
})

t.test('names and dates are what was asked for', async (t) => {
  const authority = await createAuthority({ commonName: 'Ünïcode, CA="x"', days: 100 })
  t.equal(new X509Certificate(authority.certificatePem).subject, 'CN=Ünïcode\\, CA=\\"x\\"')
  const { certificatePem } = await issueCertificate(authority, {
    profile: 'client',
    commonName: '#edge\\1',
    dnsNames: ['a.example', '*.b.example'],
    ipAddresses: ['10.0.0.1', '2001:db8::1'],
    uris: ['spiffe://example.org/edge/1'],
    days: 30,
  })
  const leaf = new X509Certificate(certificatePem)
  t.equal(leaf.subject, 'CN=\\#edge\\\\1')
  t.equal(
    leaf.subjectAltName,
    'DNS:a.example, DNS:*.b.example, IP Address:10.0.0.1, IP Address:2001:DB8:0:0:0:0:0:1, ' +
      'URI:spiffe://example.org/edge/1',
  )
  t.same(leaf.keyUsage, ['1.3.6.1.5.5.7.3.2'], 'clientAuth and nothing else')
  t.equal(leaf.ca, false)
  t.ok(leaf.checkIssued(new X509Certificate(authority.certificatePem)))
  const days = (leaf.validToDate.getTime() - Date.now()) / 86_400_000
  t.ok(days > 29.9 && days <= 30, `${days} days`)
  t.ok(leaf.validFromDate.getTime() < Date.now(), 'valid for peers with a slow clock')
  const unlimited = await issueCertificate(authority, { profile: 'client', commonName: 'x' })
  t.equal(
    new X509Certificate(unlimited.certificatePem).validTo,
    new X509Certificate(authority.certificatePem).validTo,
    'no default outlives the authority',
  )
})

t.test('serials are 128 random bits', async (t) => {
  const authority = await createAuthority({ commonName: 'CA' })
  const serials = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const { certificatePem } = await issueCertificate(authority, {
        profile: 'client',
        commonName: 'x',
      })
      return new X509Certificate(certificatePem).serialNumber
    }),
  )
  t.equal(new Set(serials).size, 40)
  t.ok(Math.max(...serials.map((serial) => serial.length)) === 32, 'of 16 bytes')
})

t.test('what cannot be a certificate is refused, with every reason', async (t) => {
  const authority = await createAuthority({ commonName: 'CA', days: 10 })
  const issue = (options: object) =>
    issueCertificate(authority, { profile: 'client', commonName: 'x', ...options })
  await t.rejects(
    issue({ dnsNames: ['a b', 'ok', '1.2.3.4', '-x', 'x..y'], ipAddresses: ['1.2.3'] }),
    {
      message: [
        'dnsNames: "a b" is no DNS name',
        'dnsNames: "1.2.3.4" is no DNS name',
        'dnsNames: "-x" is no DNS name',
        'dnsNames: "x..y" is no DNS name',
        'ipAddresses: "1.2.3" is no IP address',
      ].join('\n'),
    },
  )
  for (const uri of [
    'edge-1',
    'spiffe://UPPER/x',
    'spiffe://d',
    'spiffe://d/../x',
    'spiffe://d/x/',
  ]) {
    await t.rejects(issue({ uris: [uri] }), /is no absolute URI/, uri)
  }
  for (const commonName of ['', ' ', 'a\nb', 'a\u0000', 'x'.repeat(65)]) {
    await t.rejects(issue({ commonName }), /^commonName: /, JSON.stringify(commonName))
  }
  for (const days of [0, -1, 1.5, NaN, 40_000]) {
    await t.rejects(issue({ days }), /^days: must be a whole number/, String(days))
  }
  await t.rejects(issue({ days: 11 }), /^days: 11 is after the end of the issuer/)
})
