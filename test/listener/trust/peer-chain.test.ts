// The chain that a client has sent is read without being taken out of OpenSSL, which would not be freed.
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type TLSSocket } from 'node:tls'
import t from 'tap'
import { keepPeerChains, peerChainOf } from '../../../src/listener/trust/peer-chain.ts'
import { testPki } from '../../helpers/tls.ts'

t.test('a chain of a client that nobody trusts is there, and stays in OpenSSL', async (t) => {
  const { ca, server: own, client } = await testPki()
  const server = createServer({
    cert: own.certificatePem,
    key: own.keyPem,
    requestCert: true,
    rejectUnauthorized: false,
  })
  keepPeerChains(server)
  t.teardown(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
    rejectUnauthorized: false,
    cert: client.certificatePem + ca.certificatePem,
    key: client.keyPem,
  })
  t.teardown(() => socket.destroy())
  const [accepted] = (await once(server, 'secureConnection')) as [TLSSocket]
  t.notOk(accepted.authorized)
  const names = peerChainOf(accepted).map(({ subject }) => subject)
  t.equal(names.length, 2)
  t.ok(accepted.getPeerX509Certificate()?.issuerCertificate, 'it can be read again')
})
