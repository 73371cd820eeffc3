// Revocation lists as other authorities write them: taken where they are complete, refused where not.
import 'reflect-metadata'
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import type { ListenerTlsConfig } from '../../../src/config/schema.ts'
import { UsageError } from '../../../src/errors.ts'
import { callerOf } from '../../../src/identity/certificate.ts'
import { parseCrls } from '../../../src/listener/trust/crl-parser.ts'
import { nameKey } from '../../../src/listener/trust/issuer-name.ts'
import { securedBy } from '../../../src/listener/server.ts'
import { readTlsFiles } from '../../../src/listener/tls-files.ts'
import type { TestCertificate } from '../../helpers/certificates.ts'
import { exchange, makeSite, startListener, type Site } from '../../helpers/listener.ts'
import { der, rawCrl, type RawCrl } from '../../helpers/raw-crl.ts'

const get = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
const commonName = '550403'
const organization = '55040a'
const printable = 0x13
const utf8 = 0x0c

/** An issuing distribution point whose fields are given as hex. */
const scope = (...fields: string[]) =>
  der.extension(28, true, der.sequence(...fields.map((field) => der.hex(field))))
/** `http://ca/crl` as the distribution point. */
const url = der.of(0xa0, der.of(0xa0, der.of(0x86, Buffer.from('http://ca/crl')))).toString('hex')
const otherUrl = der
  .of(0xa0, der.of(0xa0, der.of(0x86, Buffer.from('http://ca/2'))))
  .toString('hex')
const onlyUsers = '8101ff'
const onlyAuthorities = '8201ff'

const authorityName = der.name([commonName, utf8, 'Test CA'])

function listOf(site: Site, options: Partial<RawCrl> = {}): Buffer {
  return rawCrl({ issuer: authorityName, key: createPrivateKey(site.ca.keyPem), ...options })
}

function withLists(site: Site, ...lists: readonly Buffer[]): ListenerTlsConfig {
  const crl = lists.map((list, index) => {
    const file = join(site.folder, `${index}.crl`)
    writeFileSync(file, list)
    return file
  })
  return { ...site.tls, crl }
}

function problemOf(tls: ListenerTlsConfig): string {
  try {
    readTlsFiles(tls, 'listen.tls')
    return ''
  } catch (error) {
    if (error instanceof UsageError) return error.message
    throw error
  }
}

/** What a client is told over a connection of its own. */
async function asker(t: Test, tls: ListenerTlsConfig, site: Site) {
  const { port } = await startListener(t, { tls }, (req, res) => {
    const caller = callerOf(req.socket)
    res.end(caller.kind === 'refused' ? caller.reason : caller.kind)
  })
  return async ({ certificatePem: cert, keyPem: key }: TestCertificate) => {
    const { text } = await exchange({ port, ca: site.ca.certificatePem, cert, key }, get)
    return text.split('\r\n\r\n')[1]
  }
}

const serialIn = ({ certificate }: TestCertificate) => certificate.serialNumber.replace(/^0+/, '')
const padded = (hex: string) => hex.padStart(hex.length + (hex.length % 2), '0')

for (const [what, fields] of [
  ['a place only, as step-ca has it', [url]],
  ['clients only', [onlyUsers]],
  ['a place, and clients only', [url, onlyUsers]],
  ['nothing', []],
] as const) {
  t.test(`an issuing distribution point with ${what} is taken`, async (t) => {
    const site = await makeSite(t, { clientAuth: 'required' })
    const extensions = [scope(...fields)]
    const free = await asker(t, withLists(site, listOf(site, { extensions })), site)
    t.equal(await free(site.client), 'certificate')
    const serials = [padded(serialIn(site.client))]
    const revoked = await asker(t, withLists(site, listOf(site, { extensions, serials })), site)
    t.equal(await revoked(site.client), 'revoked')
  })
}

t.test('lists that are not complete, or of others, are refused', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const refused = (options: Partial<RawCrl>) => problemOf(withLists(site, listOf(site, options)))
  const scoped = (...fields: string[]) => refused({ extensions: [scope(...fields)] })
  t.match(scoped('83020640'), /some reasons of revocation only/)
  t.match(scoped('8401ff'), /indirect list/)
  t.match(scoped('8501ff'), /not for certificates of clients/)
  t.match(scoped(onlyUsers, onlyAuthorities), /not for certificates of clients/)
  t.match(scoped('8601ff'), /not understood/)
  const serials = ['0a']
  const entry = (arc: number, critical: boolean) =>
    refused({ serials, entryExtensions: [der.extension(arc, critical, der.hex('3000'))] })
  t.match(entry(29, true), /indirect list/, 'it does not say so')
  t.match(entry(29, false), /indirect list/)
  t.match(entry(40, true), /critical extension/)
  t.equal(entry(21, false), '', 'a reason changes nothing')
  t.match(refused({ outside: 'ecdsa384' }), /names two signature algorithms/)
  t.match(refused({ serials, extensions: [der.extension(27, true, der.hex('020101'))] }), /delta/)
})

t.test('lists in parts are in force together', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const serials = [padded(serialIn(site.client))]
  const part = (fields: string[], options: Partial<RawCrl> = {}) =>
    listOf(site, { extensions: [scope(...fields)], ...options })
  for (const lists of [
    [part([onlyAuthorities]), part([onlyUsers], { serials })],
    [part([onlyUsers], { serials }), part([onlyAuthorities])],
    [part([url], { serials }), part([otherUrl])],
  ]) {
    t.equal(await (await asker(t, withLists(site, ...lists), site))(site.client), 'revoked')
  }
  const { warnings } = readTlsFiles(withLists(site, part([onlyAuthorities])), 'listen.tls')
  t.match(warnings, [/^listen\.tls\.crl: no revocation list is for the clients of CN=Test CA/])
})

t.test('of several lists the first that ends counts', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const hour = 3_600_000
  const later = new Date(Date.now() + 3 * hour)
  const tls = withLists(
    site,
    listOf(site, { extensions: [scope(url)] }),
    listOf(site, { extensions: [scope(otherUrl)], nextUpdate: later }),
  )
  let told: unknown[] = []
  const { server, port } = await startListener(t, { tls }, (req, res) => {
    const guard = securedBy(server)?.guard
    const socket = req.socket as TLSSocket
    told = [0, 2 * hour].map((ahead) => guard?.check(socket, Date.now() + ahead))
    res.end()
  })
  const { certificatePem: cert, keyPem: key } = site.client
  await exchange({ port, ca: site.ca.certificatePem, cert, key }, get)
  t.same(told, [undefined, 'CRL_HAS_EXPIRED'])
})

t.test('names are the same however they are written', async (t) => {
  const written = der.name([organization, utf8, 'Exämple Org'], [commonName, utf8, 'Test CA'])
  const bmp = Buffer.from('Test CA', 'utf16le').swap16().toString('latin1')
  for (const same of [
    der.name([organization, utf8, ' exämple  ORG '], [commonName, printable, 'TEST ca']),
    der.name([organization, utf8, 'Exa\u0308mple Org'], [commonName, 0x16, 'Test CA']),
    der.name([organization, utf8, 'Exämple Org'], [commonName, 0x1e, bmp]),
  ]) {
    t.equal(nameKey(same), nameKey(written))
  }
  for (const other of [
    der.name([organization, utf8, 'Example Org'], [commonName, utf8, 'Test CA']),
    der.name([commonName, utf8, 'Test CA'], [organization, utf8, 'Exämple Org']),
    der.name([organization, utf8, 'Exämple Org'], [commonName, utf8, 'TestCA']),
    der.name([organization, utf8, 'Exämple Org']),
  ]) {
    t.not(nameKey(other), nameKey(written))
  }
  const site = await makeSite(t, { clientAuth: 'required' })
  const issuer = der.name([commonName, printable, 'TEST  ca'])
  t.equal(problemOf(withLists(site, listOf(site, { issuer }))), '')
})

t.test('RSA-PSS', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const [crl] = parseCrls(rawCrl({ issuer: authorityName, key: privateKey, algorithm: 'pss' }))
  t.equal(crl?.isSignedBy(publicKey), true)
  t.equal(crl?.isSignedBy(other.publicKey), false)
  const bound = generateKeyPairSync('rsa-pss', { modulusLength: 2048 })
  const [own] = parseCrls(
    rawCrl({ issuer: authorityName, key: bound.privateKey, algorithm: 'pss' }),
  )
  t.equal(own?.isSignedBy(bound.publicKey), true)
})

t.test('a line break behind DER', async (t) => {
  const site = await makeSite(t)
  const list = listOf(site)
  t.equal(parseCrls(Buffer.concat([list, Buffer.from('\r\n')])).length, 1)
  t.throws(() => parseCrls(Buffer.concat([list, Buffer.from('\0')])), /behind its end/)
})

t.test('every serial number of a long list is found, and no other', async (t) => {
  const site = await makeSite(t)
  const serials = Array.from({ length: 20_000 }, (_, index) =>
    index % 2 === 0 ? padded((index + 1).toString(16)) : randomBytes(20).toString('hex'),
  )
  const set = parseCrls(listOf(site, { serials }))[0]?.serials()
  t.equal(serials.filter((serial) => set?.has(serial.replace(/^(00)+/, '')) !== true).length, 0)
  t.equal(set?.has(randomBytes(19).toString('hex')), false)
  t.equal(set?.has('02'), false)
})
