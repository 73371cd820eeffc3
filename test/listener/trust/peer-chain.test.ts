// Certificates of clients are read without being taken out of OpenSSL, which would not free them.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, TLSSocket, type SecureVersion } from 'node:tls'
import t, { type Test } from 'tap'
import {
  certificateIn,
  keepPeerCertificates,
  peerChainOf,
} from '../../../src/listener/trust/peer-chain.ts'
import { testPki } from '../../helpers/tls.ts'

const { ca, server: own, client } = await testPki()

interface Options {
  /** Authorities of the server. */
  trusted?: string
  /** What the client sends. */
  sent?: string
  /** The newest version that the client offers. */
  maxVersion?: SecureVersion
}

async function accept(
  t: Test,
  { trusted, sent, maxVersion = 'TLSv1.3' }: Options,
): Promise<TLSSocket> {
  const server = createServer({
    cert: own.certificatePem,
    key: own.keyPem,
    requestCert: true,
    rejectUnauthorized: false,
    ...(trusted !== undefined && { ca: trusted }),
  })
  keepPeerCertificates(server)
  t.teardown(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    rejectUnauthorized: false,
    maxVersion,
    ...(sent !== undefined && { cert: sent, key: client.keyPem }),
  })
  t.teardown(() => socket.destroy())
  const [accepted] = (await once(server, 'secureConnection')) as [TLSSocket]
  return accepted
}

/** What Node's own would find, which OpenSSL still has then. */
function issuerInOpenSsl(socket: TLSSocket): unknown {
  const { _handle: handle } = socket as unknown as { _handle: { getPeerX509Certificate?: unknown } }
  delete handle.getPeerX509Certificate
  return TLSSocket.prototype.getPeerX509Certificate.call(socket)?.issuerCertificate
}

const sent = client.certificatePem + ca.certificatePem

t.test('a chain of a client that nobody trusts is there, and stays in OpenSSL', async (t) => {
  const socket = await accept(t, { sent })
  t.notOk(socket.authorized)
  t.equal(peerChainOf(socket).length, 2)
  t.ok(socket.getPeerX509Certificate()?.raw.equals(peerChainOf(socket)[0]?.raw ?? Buffer.of()))
  t.ok(issuerInOpenSsl(socket))
})

t.test('and so does that of one who is trusted', async (t) => {
  const socket = await accept(t, { trusted: ca.certificatePem, sent })
  t.ok(socket.authorized)
  t.match(socket.getPeerX509Certificate()?.issuer, /CN=/)
  t.ok(issuerInOpenSsl(socket))
})

for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
  t.test(`the session of ${maxVersion} has the certificate`, async (t) => {
    const socket = await accept(t, { trusted: ca.certificatePem, sent, maxVersion })
    t.equal(socket.getProtocol(), maxVersion)
    const { raw } = socket.getPeerCertificate()
    t.ok(socket.getPeerX509Certificate()?.raw.equals(raw), 'it is the one')
    const session = socket.getSession()
    t.ok(session && certificateIn(session)?.raw.equals(raw), 'and it is found in there')
  })
}

t.test('a client without a certificate is not authorized', async (t) => {
  const socket = await accept(t, { trusted: ca.certificatePem })
  t.notOk(socket.authorized)
  t.equal(socket.getPeerX509Certificate(), undefined)
  const session = socket.getSession()
  t.equal(session && certificateIn(session), undefined)
  t.same(peerChainOf(socket), [])
})
