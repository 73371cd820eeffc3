// What is said of the ends of certificates and revocation lists, and when.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { readTlsFiles } from '../../src/listener/tls-files.ts'
import { watchExpiry } from '../../src/listener/expiry.ts'
import type { Expiry } from '../../src/rules/expiry.ts'
import { makeCrl } from '../helpers/crl.ts'
import { makeSite, recordingLog } from '../helpers/listener.ts'

const day = 86_400_000

t.test('everything that a listener uses has an end', async (t) => {
  const { tls, folder, ca, server } = await makeSite(t, { clientAuth: 'required' })
  const crl = join(folder, 'ca.crl')
  const nextUpdate = new Date('2051-01-01T00:00:00Z')
  writeFileSync(crl, (await makeCrl({ issuer: ca, nextUpdate })).pem)
  const { expiries } = readTlsFiles({ ...tls, crl: [crl] }, 'listen.tls')
  t.match(expiries, [
    {
      kind: 'certificate',
      use: 'listen.tls.cert',
      file: tls.cert,
      name: 'CN=localhost',
      serial: server.certificate.serialNumber.toUpperCase(),
      expiresAt: server.certificate.notAfter.getTime(),
    },
    { use: 'listen.tls.clientCa', file: tls.clientCa[0], name: 'CN=Test CA' },
    { kind: 'crl', use: 'listen.tls.crl', file: crl, name: 'CN=Test CA' },
  ])
  t.equal(expiries[2]?.expiresAt, nextUpdate.getTime())
})

t.test('warns of certificates 30 days before, of lists once they are outdated', async (t) => {
  const { log, lines } = recordingLog()
  const expiry = (kind: Expiry['kind'], file: string, days: number): Expiry => {
    return { kind, use: 'x', file, name: 'CN=x', expiresAt: Date.now() + days * day + 1000 }
  }
  const stop = watchExpiry(
    () => [
      expiry('certificate', 'fresh', 31),
      expiry('certificate', 'soon', 29),
      expiry('certificate', 'over', -2),
      expiry('crl', 'due', 1),
      expiry('crl', 'outdated', -1),
    ],
    log,
  )
  stop()
  t.match(lines, [
    { level: 40, msg: /expires soon/, file: 'soon', days: 29 },
    { level: 40, msg: /has expired/, file: 'over' },
    { level: 40, msg: /is outdated/, file: 'outdated' },
  ])
  t.equal(lines.length, 3)
})
