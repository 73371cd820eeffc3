// A certificate whose authority has the right name and another key, where certificates are optional.
import t from 'tap'
import { callerOf } from '../../../src/identity/certificate.ts'
import { makeCertificate } from '../../helpers/certificates.ts'
import { exchange, makeSite, startListener } from '../../helpers/listener.ts'

const get = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n'

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  t.test(
    `the request is answered, not the handshake: ${version}`,
    { timeout: 30_000 },
    async (t) => {
      const site = await makeSite(t, { clientAuth: 'optional' })
      const twin = await makeCertificate({ subject: 'CN=Test CA', ca: true })
      // Without key identifiers nothing but the signature tells the two apart.
      const client = await makeCertificate({
        subject: 'CN=edge-1',
        issuer: twin,
        purposes: ['client'],
        keyIdentifiers: false,
      })
      const { port } = await startListener(t, { tls: site.tls }, (req, res) => {
        const caller = callerOf(req.socket)
        res.statusCode = 403
        res.end(caller.kind === 'refused' ? caller.reason : caller.kind)
      })
      const { text } = await exchange(
        {
          port,
          ca: site.ca.certificatePem,
          cert: client.certificatePem,
          key: client.keyPem,
          minVersion: version,
          maxVersion: version,
        },
        get,
      )
      t.match(text, /^HTTP\/1\.1 403 /)
      t.match(text, /\r\nconnection: close\r\n/i, 'to be judged again, it must come back')
      t.match(text, /\r\n\r\nbad_signature$/)
    },
  )
}
