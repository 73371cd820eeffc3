// Revoked clients over real TLS connections.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { ListenerTlsConfig } from '../../../src/config/schema.ts'
import { UsageError } from '../../../src/errors.ts'
import { callerOf } from '../../../src/identity/certificate.ts'
import { readTlsFiles } from '../../../src/listener/tls-files.ts'
import { securedBy } from '../../../src/listener/server.ts'
import { makeCertificate, type TestCertificate } from '../../helpers/certificates.ts'
import { makeCrl, type TestCrlOptions } from '../../helpers/crl.ts'
import { exchange, makeSite, startListener, type Site } from '../../helpers/listener.ts'

const get = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'
const hour = 3_600_000
const ago = (ms: number) => new Date(Date.now() - ms)

/** Writes the lists into one file and returns the settings that name it. */
async function withLists(site: Site, ...lists: TestCrlOptions[]): Promise<ListenerTlsConfig> {
  const file = join(site.folder, 'ca.crl')
  const made = await Promise.all(lists.map((list) => makeCrl(list)))
  writeFileSync(file, made.map(({ pem }) => pem).join(''))
  return { ...site.tls, crl: [file] }
}

/** A listener that answers with the caller; `ask` is the caller's kind or why it is refused. */
async function start(t: Test, site: Site, tls: ListenerTlsConfig) {
  const listener = await startListener(t, { tls }, (req, res) => {
    const caller = callerOf(req.socket)
    res.end(caller.kind === 'refused' ? caller.reason : caller.kind)
  })
  const ask = async (client?: TestCertificate, intermediate?: TestCertificate) => {
    const { text } = await exchange(
      {
        port: listener.port,
        ca: site.ca.certificatePem,
        ...(client && {
          cert: client.certificatePem + (intermediate?.certificatePem ?? ''),
          key: client.keyPem,
        }),
      },
      get,
    )
    return text.split('\r\n\r\n')[1]
  }
  return { ...listener, ask }
}

async function another(site: Site, subject = 'CN=edge-2') {
  return makeCertificate({ subject, issuer: site.ca, purposes: ['client'] })
}

for (const clientAuth of ['required', 'optional'] as const) {
  t.test(`the revoked are refused, the others are not: ${clientAuth}`, async (t) => {
    const site = await makeSite(t, { clientAuth })
    const revoked = await another(site)
    const { ask } = await start(
      t,
      site,
      await withLists(site, { issuer: site.ca, revoked: [revoked] }),
    )
    t.equal(await ask(revoked), 'revoked')
    t.equal(await ask(site.client), 'certificate')
    if (clientAuth === 'optional') t.equal(await ask(), 'anonymous')
  })
}

t.test('a serial number with its highest bit set', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const client = await another(site)
  const { serialNumber } = client.certificate
  const tls = await withLists(site, { issuer: site.ca, serials: [`00${serialNumber}`, 'ff01'] })
  t.equal(await (await start(t, site, tls)).ask(client), 'revoked')
})

t.test('authorities in between', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const issuing = await makeCertificate({ subject: 'CN=Issuing', issuer: site.ca, ca: true })
  const client = await makeCertificate({ subject: 'CN=c', issuer: issuing, purposes: ['client'] })
  const root: TestCrlOptions = { issuer: site.ca }

  const unknown = await start(t, site, await withLists(site, root))
  t.equal(await unknown.ask(client, issuing), 'crl_missing', 'it could be revoked, unnoticed')
  t.equal(await unknown.ask(site.client), 'certificate')

  writeFileSync(join(site.folder, 'ca.crt'), site.ca.certificatePem + issuing.certificatePem)
  const plain = await start(t, site, await withLists(site, root))
  t.equal(await plain.ask(client, issuing), 'certificate')
  t.match(plain.lines, [
    { level: 40, msg: /listen\.tls\.crl: no revocation list is for CN=Issuing/ },
  ])

  const leaf = { issuer: issuing, revoked: [client] }
  const both = await start(t, site, await withLists(site, root, leaf))
  t.equal(await both.ask(client, issuing), 'revoked', 'two lists in one file')
  t.same(both.lines, [])

  const above = await withLists(site, { ...root, revoked: [issuing] }, { issuer: issuing })
  t.equal(await (await start(t, site, above)).ask(client, issuing), 'revoked')
})

t.test('authorities of the same name are told apart by their keys', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const twin = await makeCertificate({ subject: 'CN=Test CA', ca: true })
  const client = await makeCertificate({ subject: 'CN=t', issuer: twin, purposes: ['client'] })
  writeFileSync(join(site.folder, 'ca.crt'), twin.certificatePem + site.ca.certificatePem)
  const { serialNumber } = client.certificate
  const { ask } = await start(
    t,
    site,
    await withLists(site, { issuer: site.ca, serials: [serialNumber], revoked: [site.client] }),
  )
  t.equal(await ask(site.client), 'revoked')
  t.equal(await ask(client), 'certificate', 'another authority has revoked that number')
})

t.test('the newest list of an authority is in force', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const thisUpdate = ago(1000)
  const lists = [
    { issuer: site.ca, thisUpdate, number: 3 },
    { issuer: site.ca, thisUpdate, number: 2, revoked: [site.client] },
    { issuer: site.ca, thisUpdate: ago(hour), number: 9, revoked: [site.client] },
  ]
  for (const order of [lists, lists.toReversed()]) {
    const { ask } = await start(t, site, await withLists(site, ...order))
    t.equal(await ask(site.client), 'certificate')
  }
})

t.test('an outdated list refuses everybody, unless it may be stale', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const revoked = await another(site)
  const old = { issuer: site.ca, revoked: [revoked], thisUpdate: ago(2 * hour) }
  const tls = await withLists(site, { ...old, nextUpdate: ago(hour) })
  const strict = await start(t, site, tls)
  t.equal(await strict.ask(site.client), 'crl_expired')
  t.match(strict.lines, [
    { level: 40, msg: /outdated since .* and refuses everybody of CN=Test CA/ },
  ])
  const lenient = await start(t, site, { ...tls, crlMaxStale: 2 * hour })
  t.equal(await lenient.ask(site.client), 'certificate')
  t.equal(await lenient.ask(revoked), 'revoked')
  t.match(lenient.lines, [{ level: 40, msg: /still serves by crlMaxStale/ }])
})

t.test('a list that ends while a connection is open', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const tls = await withLists(site, { issuer: site.ca })
  let at: string[] = []
  const { server, port } = await startListener(t, { tls }, (req, res) => {
    const guard = securedBy(server)?.guard
    const socket = req.socket as Parameters<NonNullable<typeof guard>['check']>[0]
    at = [0, 2 * hour, 0].map((later) => {
      guard?.check(socket, Date.now() + later)
      const caller = callerOf(socket)
      return caller.kind === 'refused' ? caller.reason : caller.kind
    })
    res.end()
  })
  const { certificatePem: cert, keyPem: key } = site.client
  await exchange({ port, ca: site.ca.certificatePem, cert, key }, get)
  t.same(at, ['certificate', 'crl_expired', 'certificate'])
})

t.test('lists that cannot be trusted are refused when they are read', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const other = await makeCertificate({ subject: 'CN=Other', ca: true })
  const problemOf = async (...lists: TestCrlOptions[]) => {
    try {
      readTlsFiles(await withLists(site, ...lists), 'listen.tls')
    } catch (error) {
      if (error instanceof UsageError) return error.message
    }
    return ''
  }
  const signer = { issuer: site.ca, signer: other }
  t.match(await problemOf(signer), /^listen\.tls\.crl\.0: .*CN=Test CA is not signed by/)
  t.match(await problemOf({ issuer: other }), /CN=Other needs the certificate of that authority/)
  const thisUpdate = new Date(Date.now() + hour / 2)
  t.match(await problemOf({ issuer: site.ca, thisUpdate }), /is not valid yet/)
  t.match(await problemOf({ issuer: site.ca }, signer), /is not signed by/, 'one of two')
  t.match(await problemOf(), /has no revocation list/)
  t.equal(await problemOf({ issuer: site.ca }), '')
})
