// Revocation lists are read as they stand, or not at all.
import 'reflect-metadata'
import { createPublicKey, randomBytes } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import t from 'tap'
import { nameText, parseCrls } from '../../../src/listener/trust/crl-parser.ts'
import { makeCertificate } from '../../helpers/certificates.ts'
import { makeCrl } from '../../helpers/crl.ts'

const ca = await makeCertificate({ subject: 'CN=Test CA, O=Example', ca: true })
const other = await makeCertificate({ subject: 'CN=Other CA', ca: true })
const keyOf = ({ certificatePem }: typeof ca) => createPublicKey(certificatePem)

t.test('says what another reader says', async (t) => {
  const serials = Array.from({ length: 500 }, () => randomBytes(16).toString('hex'))
  const nextUpdate = new Date('2051-02-03T04:05:06Z')
  const thisUpdate = new Date('2026-01-02T03:04:05Z')
  const { pem, der } = await makeCrl({ issuer: ca, serials, thisUpdate, nextUpdate, number: 7 })
  const read = new x509.X509Crl(der)
  const [crl] = parseCrls(Buffer.from(pem))
  t.equal(nameText(crl?.issuer ?? der), read.issuer)
  t.equal(crl?.thisUpdate, thisUpdate.getTime(), 'UTCTime')
  t.equal(crl?.nextUpdate, nextUpdate.getTime(), 'GeneralizedTime')
  t.equal(crl?.number, 7n)
  const expected = read.entries.map(({ serialNumber }) => serialNumber.replace(/^(00)+/, ''))
  const listed = crl?.serials()
  t.same(
    expected.filter((serial) => listed?.has(serial) !== true),
    [],
  )
  t.equal(listed?.has('01'), false)
})

t.test('its signature is of one key', async (t) => {
  const [crl] = parseCrls((await makeCrl({ issuer: ca })).der)
  t.equal(crl?.isSignedBy(keyOf(ca)), true)
  t.equal(crl?.isSignedBy(keyOf(other)), false)
})

t.test('its signature is checked once for each key', async (t) => {
  const { der } = await makeCrl({ issuer: ca })
  const [crl] = parseCrls(der)
  t.equal(crl?.isSignedBy(keyOf(ca)), true)
  der.fill(0, 20, 60)
  t.equal(crl?.isSignedBy(keyOf(ca)), true, 'remembered')
})

t.test('any number of lists in a PEM file, one in DER', async (t) => {
  const [one, two] = [await makeCrl({ issuer: ca }), await makeCrl({ issuer: other })]
  t.equal(parseCrls(Buffer.from(`# first\n${one.pem}\n${two.pem}`)).length, 2)
  t.equal(parseCrls(one.der).length, 1)
  t.throws(() => parseCrls(Buffer.concat([one.der, two.der])), /behind its end/)
})

t.test('what is damaged is refused', async (t) => {
  const { pem, der } = await makeCrl({ issuer: ca, serials: ['0102', '0304'] })
  t.throws(() => parseCrls(Buffer.from('')), /has no revocation list/)
  t.throws(() => parseCrls(Buffer.from(ca.certificatePem)), /has no revocation list/)
  t.throws(() => parseCrls(Buffer.from(pem + pem.slice(0, 100))), /has no end/)
  for (let length = 1; length < der.length; length += 1) {
    t.throws(() => parseCrls(der.subarray(0, length)), Error, `cut after ${length} bytes`)
  }
})

t.test('what it cannot do justice to is refused', async (t) => {
  const refused = async (oid: string, critical: boolean) => {
    const extension = new x509.Extension(oid, critical, new Uint8Array([0x30, 0x00]))
    const { der } = await makeCrl({ issuer: ca, extensions: [extension] })
    return () => parseCrls(der)
  }
  t.throws(await refused('2.5.29.27', true), /is a delta list/)
  t.throws(await refused('2.5.29.46', true), /critical extension 2\.5\.29\.46/)
  t.doesNotThrow(await refused('2.5.29.18', false))
})
