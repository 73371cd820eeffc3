// Client authentication, protocol versions and session resumption over real handshakes.
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import type { ListenerTlsConfig } from '../../src/config/schema.ts'
import { callerOf } from '../../src/identity/certificate.ts'
import { makeCertificate, type TestCertificate } from '../helpers/certificates.ts'
import { exchange, makeSite, startListener } from '../helpers/listener.ts'

const get = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
const past = (days: number) => new Date(Date.now() - days * 86_400_000)
const future = (days: number) => past(-days)

/** A listener that answers with the caller as JSON, and the way to call it. */
async function rig(t: Test, tls: Partial<ListenerTlsConfig>) {
  const site = await makeSite(t, tls)
  const listener = await startListener(t, { tls: site.tls }, (req, res) => {
    res.end(JSON.stringify(callerOf(req.socket)))
  })
  const call = (client?: TestCertificate, options: ConnectionOptions = {}) =>
    exchange(
      {
        port: listener.port,
        ca: site.ca.certificatePem,
        ...(client === undefined ? {} : { cert: client.certificatePem, key: client.keyPem }),
        ...options,
      },
      get,
    )
  return { site, listener, call }
}

async function wrongClients(site: { ca: TestCertificate }) {
  const other = await makeCertificate({ subject: 'CN=Other CA', ca: true })
  const client = { subject: 'CN=edge-1', issuer: site.ca, purposes: ['client' as const] }
  return {
    unknown_ca: await makeCertificate({ ...client, issuer: other }),
    expired: await makeCertificate({ ...client, notBefore: past(2), notAfter: past(1) }),
    not_yet_valid: await makeCertificate({ ...client, notBefore: future(1), notAfter: future(2) }),
    wrong_purpose: await makeCertificate({ ...client, purposes: ['server'] }),
  }
}

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  const only = { minVersion: version, maxVersion: version }

  t.test(`clientAuth required, ${version}`, async (t) => {
    const { site, listener, call } = await rig(t, { clientAuth: 'required' })
    t.match((await call(site.client, only)).text, /^HTTP\/1.1 200 .*"commonName":"edge-1"/s)

    const failed = listener.nextFailure()
    const none = await call(undefined, only)
    t.match(none, {
      text: '',
      error:
        version === 'TLSv1.3'
          ? 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'
          : 'ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE',
    })
    t.equal(await failed, 'no_certificate')

    for (const [reason, client] of Object.entries(await wrongClients(site))) {
      const told = listener.nextFailure()
      t.equal((await call(client, only)).text, '', `${reason} gets no answer`)
      t.equal(await told, reason)
    }
  })

  t.test(`clientAuth optional, ${version}`, async (t) => {
    const { site, listener, call } = await rig(t, { clientAuth: 'optional' })
    t.match((await call(site.client, only)).text, /"commonName":"edge-1"/)
    t.match((await call(undefined, only)).text, /\{"kind":"anonymous"\}/)
    for (const [reason, client] of Object.entries(await wrongClients(site))) {
      t.match((await call(client, only)).text, `{"kind":"refused","reason":"${reason}"}`)
    }
    t.same(listener.failures, [])
  })
}

t.test('clientAuth none asks for no certificate', async (t) => {
  const { site, call } = await rig(t, { clientAuth: 'none' })
  t.match((await call(site.client)).text, /\{"kind":"anonymous"\}/)
})

t.test('versions and ciphers below the minimum are refused and counted', async (t) => {
  const { listener, call } = await rig(t, {})
  const failed = listener.nextFailure()
  const legacy = {
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'ALL@SECLEVEL=0',
  } as const
  t.equal((await call(undefined, legacy)).error, 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION')
  t.equal(await failed, 'unsupported_protocol')
  const weak = listener.nextFailure()
  await call(undefined, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' })
  t.equal(await weak, 'no_shared_cipher')
  const modern = listener.nextFailure()
  await call(undefined, { ALPNProtocols: ['h2'] })
  t.equal(await modern, 'unsupported_protocol', 'a client that speaks HTTP/2 only')
})

t.test('a client that offers HTTP/1.0 only is served', async (t) => {
  const { call } = await rig(t, {})
  for (const offered of [['http/1.0'], ['h2', 'http/1.0'], ['http/1.0', 'http/1.1'], []]) {
    const { text, socket } = await call(undefined, { ALPNProtocols: offered })
    t.match(text, /^HTTP\/1\.1 200 /, offered.join())
    const expected = offered.includes('http/1.1') ? 'http/1.1' : 'http/1.0'
    t.equal(socket.alpnProtocol, offered.length === 0 ? false : expected)
  }
})

t.test('minVersion TLSv1.3 refuses TLS 1.2', async (t) => {
  const { call } = await rig(t, { minVersion: 'TLSv1.3' })
  t.equal((await call(undefined, { maxVersion: 'TLSv1.2' })).text, '')
  t.match((await call()).text, /anonymous/)
})

t.test('no session is ever resumed', async (t) => {
  const { site, listener } = await rig(t, { clientAuth: 'required' })
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const options = {
      port: listener.port,
      host: '127.0.0.1',
      servername: 'localhost',
      ca: site.ca.certificatePem,
      cert: site.client.certificatePem,
      key: site.client.keyPem,
      minVersion: version,
      maxVersion: version,
    }
    let session: Buffer | undefined
    const first = connect(options)
    first.on('session', (given: Buffer) => (session = given))
    first.on('secureConnect', () => first.write(get))
    await once(first.resume(), 'close')
    session ??= first.getSession()
    const second: TLSSocket = connect({ ...options, ...(session === undefined ? {} : { session }) })
    await once(second, 'secureConnect')
    t.equal(second.isSessionReused(), false, version)
    second.destroy()
  }
})

t.test('a failed handshake is logged once per reason and source, and counted always', async (t) => {
  const { listener, call } = await rig(t, { clientAuth: 'required' })
  for (let turn = 0; turn < 3; turn += 1) {
    const failed = listener.nextFailure()
    await call()
    await failed
  }
  t.same(listener.failures, ['no_certificate', 'no_certificate', 'no_certificate'])
  const lines = listener.lines.filter(({ msg }) => msg === 'TLS handshake failed')
  t.equal(lines.length, 1)
  t.match(lines[0], { level: 40, reason: 'no_certificate', source: '127.0.0.1', hint: /present/ })
})

t.test('the source of a refused certificate and of plain HTTP is known', async (t) => {
  const { site, listener, call } = await rig(t, { clientAuth: 'required' })
  const refused = listener.nextFailure()
  await call((await wrongClients(site)).unknown_ca)
  await refused
  const plain = listener.nextFailure()
  const socket = connectTcp(listener.port, '127.0.0.1')
  socket.on('error', () => undefined)
  socket.write(get)
  t.equal(await plain, 'not_tls')
  socket.destroy()
  const gone = listener.nextFailure()
  connectTcp(listener.port, '127.0.0.1').end()
  t.equal(await gone, 'closed_by_client')
  t.match(
    listener.lines.map(({ reason, source }) => `${String(reason)} ${String(source)}`),
    ['unknown_ca 127.0.0.1', 'not_tls 127.0.0.1', 'closed_by_client 127.0.0.1'],
  )
})
