// The caller behind real TLS connections; chain and dates are in test/listener/tls.test.ts.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { callerOf, type Caller } from '../../src/identity/certificate.ts'
import { makeCertificate, type TestCertificateOptions } from '../helpers/certificates.ts'
import { exchange, makeSite, startListener } from '../helpers/listener.ts'

const day = 86_400_000

/** Connects with a certificate made from `options`; what `ask` returns on the server's side. */
async function ask<T>(
  t: Test,
  options: Partial<TestCertificateOptions>,
  question: (socket: Socket) => T,
) {
  const site = await makeSite(t, { clientAuth: 'optional' })
  const client = await makeCertificate({
    subject: 'CN=edge-1',
    issuer: site.ca,
    purposes: ['client'],
    ...options,
  })
  let answer: T | undefined
  const { port } = await startListener(t, { tls: site.tls }, (req, res) => {
    answer = question(req.socket)
    res.end()
  })
  await exchange(
    { port, ca: site.ca.certificatePem, cert: client.certificatePem, key: client.keyPem },
    'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
  )
  return { answer, client }
}

t.test('everything the identity says comes from the certificate', async (t) => {
  const notAfter = new Date(Math.floor(Date.now() / 1000) * 1000 + day)
  const { answer, client } = await ask(
    t,
    {
      subject: 'C=DE, O=Example\\, Inc., CN=edge-1',
      dnsNames: ['edge-1.example'],
      uris: ['spiffe://example/edge-1'],
      ipAddresses: ['10.0.0.1'],
      notAfter,
    },
    callerOf,
  )
  t.same(answer, {
    kind: 'certificate',
    commonName: 'edge-1',
    subject: 'CN=edge-1,O=Example\\, Inc.,C=DE',
    dnsNames: ['edge-1.example'],
    uris: ['spiffe://example/edge-1'],
    spiffeId: 'spiffe://example/edge-1',
    serial: client.certificate.serialNumber.toUpperCase(),
    thumbprint: createHash('sha256')
      .update(Buffer.from(client.certificate.rawData))
      .digest('base64url'),
    expiresAt: notAfter.getTime(),
  })
})

t.test('certificates that are not for a client are refused', async (t) => {
  const cases: [Partial<TestCertificateOptions>, reason: string][] = [
    [{ ca: true }, 'ca_certificate'],
    [{ ca: true, purposes: undefined as never }, 'ca_certificate'],
    [{ purposes: undefined as never }, 'no_purpose'],
    [{ purposes: ['server'] }, 'wrong_purpose'],
  ]
  for (const [options, reason] of cases) {
    const { answer } = await ask(t, options, callerOf)
    t.same(answer, { kind: 'refused', reason }, JSON.stringify(options))
  }
})

t.test('is worked out once, but expiry is noticed on an open connection', async (t) => {
  const { answer } = await ask(t, {}, (socket) => {
    const read = new Set<Caller>([callerOf(socket), callerOf(socket)])
    const [caller] = read
    const end = caller?.kind === 'certificate' ? caller.expiresAt : 0
    return {
      callers: read.size,
      before: callerOf(socket, end - 1).kind,
      after: callerOf(socket, end),
    }
  })
  t.same(answer, {
    callers: 1,
    before: 'certificate',
    after: { kind: 'refused', reason: 'expired' },
  })
})

t.test('plain HTTP is anonymous', async (t) => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  t.same(callerOf(socket), { kind: 'anonymous' })
  client.destroy()
  server.close()
})
