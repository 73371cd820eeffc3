// Certificates of clients are read without being taken out of OpenSSL, which would not free them.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { keepPeerCertificates, peerChainOf } from '../../../src/listener/trust/peer-chain.ts'
import { testPki } from '../../helpers/tls.ts'

const { ca, server: own, client } = await testPki()

interface Options {
  /** Authorities of the server. */
  trusted?: string
  /** What the client sends. */
  sent?: string
}

async function accept(t: Test, { trusted, sent }: Options): Promise<TLSSocket> {
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
    ...(sent !== undefined && { cert: sent, key: client.keyPem }),
  })
  t.teardown(() => socket.destroy())
  const [accepted] = (await once(server, 'secureConnection')) as [TLSSocket]
  return accepted
}

/** What Node's own would find, which OpenSSL still has then. */
function issuerInOpenSsl(socket: TLSSocket): unknown {
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

t.test('a client without a certificate is not authorized', async (t) => {
  const socket = await accept(t, { trusted: ca.certificatePem })
  t.notOk(socket.authorized)
  t.equal(socket.getPeerX509Certificate(), undefined)
  t.same(peerChainOf(socket), [])
})
