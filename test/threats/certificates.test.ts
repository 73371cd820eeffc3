// Threats by certificates: wrong ones, stolen ones, those that were right once.
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type TLSSocket } from 'node:tls'
import t from 'tap'
import { makeCertificate } from '../helpers/certificates.ts'
import { makeCrl } from '../helpers/crl.ts'
import {
  manifestPath,
  nothingLeaked,
  pki,
  startSite,
  threat,
  versions,
  type Pair,
  type Site,
} from './site.ts'

const get = `GET ${manifestPath} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`
const day = 86_400_000
const now = Date.now()
const ca = await makeCertificate({ subject: 'CN=Site CA', ca: true })
const twin = await makeCertificate({ subject: 'CN=Site CA', ca: true })
const right = { subject: 'CN=edge-1', issuer: ca, purposes: ['client' as const] }
const client = await makeCertificate(right)

/** Wrong clients by the reason that log, metric and audit give. */
const wrong: Record<string, Pair> = {
  unknown_ca: await makeCertificate({ ...right, issuer: twin }),
  // Nothing but the signature tells its authority from the right one.
  bad_signature: await makeCertificate({ ...right, issuer: twin, keyIdentifiers: false }),
  expired: await makeCertificate({ ...right, notAfter: new Date(now - day / 2) }),
  not_yet_valid: await makeCertificate({ ...right, notBefore: new Date(now + day / 2) }),
  wrong_purpose: await makeCertificate({ ...right, purposes: ['server'] }),
  no_purpose: await makeCertificate({ subject: 'CN=edge-1', issuer: ca }),
  ca_certificate: await makeCertificate({ ...right, ca: true }),
}

const start = async (t: Parameters<typeof startSite>[0], clientAuth: 'optional' | 'required') =>
  startSite(t, { clientAuth, files: { 'site-ca.crt': ca.certificatePem }, yaml: '' }).then(
    async (site) => {
      await change(site, (yaml) => yaml.replace('[ca.crt]', '[site-ca.crt]'))
      return site
    },
  )

async function change(site: Site, edit: (yaml: string) => string): Promise<boolean> {
  const file = join(site.folder, 'gateway.yaml')
  writeFileSync(file, edit(readFileSync(file, 'utf8')))
  return site.reload()
}

threat('no certificate where one is required', async (t) => {
  const site = await start(t, 'required')
  for (const version of versions) {
    const tls = { minVersion: version, maxVersion: version }
    const { text, error } = await site.raw(get, { client: null, tls })
    t.equal(text, '', version)
    t.match(error, version === 'TLSv1.3' ? /CERTIFICATE_REQUIRED/ : /handshake.failure/i)
  }
  const failures = { reason: 'no_certificate' }
  t.equal(await site.metric('portcullis_handshake_failures_total', failures), 2)
  t.equal(site.upstream.requests.length, 0)
})

threat('a wrong certificate', async (t) => {
  for (const clientAuth of ['optional', 'required'] as const) {
    const site = await start(t, clientAuth)
    for (const [reason, pair] of Object.entries(wrong)) {
      for (const version of versions) {
        const tls = { minVersion: version, maxVersion: version }
        const { text } = await site.raw(get, { client: pair, tls })
        if (text !== '') t.match(text, /^HTTP\/1.1 403 /, `${clientAuth}, ${version}: ${reason}`)
        else t.equal(clientAuth, 'required', `${reason}: an answer where TLS lets it in`)
        nothingLeaked(t, text)
      }
      const seen = await Promise.all(
        ['portcullis_handshake_failures_total', 'portcullis_refused_callers_total'].map((name) =>
          site.metric(name, { reason }),
        ),
      )
      t.equal((seen[0] ?? 0) + (seen[1] ?? 0), 2, `${clientAuth}: ${reason} is counted`)
      if (clientAuth === 'optional') t.match(site.audit(), { audit: 'refused', reason })
    }
    t.equal(site.upstream.requests.length, 0)
    t.match((await site.raw(get, { client })).text, /^HTTP\/1.1 200 /, 'a right one still works')
  }
})

/** A connection that is kept, and what the next request on it gets: a status, or `closed`. */
async function keep(site: Site, pair: Pair, tls = {}) {
  const socket: TLSSocket = connect({
    host: '127.0.0.1',
    servername: 'localhost',
    port: site.port,
    ca: pki.ca.certificatePem,
    cert: pair.certificatePem,
    key: pair.keyPem,
    ...tls,
  })
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  const gone = new Promise<undefined>(
    (resolve) => void socket.on('close', () => resolve(undefined)),
  )
  return async () => {
    if (socket.destroyed) return 'closed'
    socket.write(`GET ${manifestPath} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    const chunk = await Promise.race([once(socket, 'data').then(([data]) => data as Buffer), gone])
    const status = chunk === undefined ? 'closed' : chunk.toString('latin1').slice(9, 12)
    if (status === '403' && chunk !== undefined) nothingLeaked(t, chunk)
    return status
  }
}

threat('a certificate revoked while its connection is open', async (t) => {
  const site = await start(t, 'optional')
  const list = async (number: number, revoked: (typeof client)[]) =>
    writeFileSync(join(site.folder, 'ca.crl'), (await makeCrl({ issuer: ca, revoked, number })).pem)
  await list(1, [])
  t.ok(await change(site, (yaml) => yaml.replace('[site-ca.crt]', '[site-ca.crt], crl: [ca.crl]')))
  for (const [turn, version] of versions.entries()) {
    await list(2 * turn + 2, [])
    await site.reload()
    const ask = await keep(site, client, { minVersion: version, maxVersion: version })
    t.equal(await ask(), '200', version)
    await list(2 * turn + 3, [client])
    t.equal(await site.reload(), true)
    t.match(await ask(), /^(403|closed)$/)
    t.match((await site.raw(get, { client })).text, /^HTTP\/1.1 403 /, 'nor on a new connection')
  }
  t.match(site.audit(), { audit: 'refused', reason: 'revoked' })
})

threat('a session that is resumed', async (t) => {
  const site = await start(t, 'required')
  for (const version of versions) {
    const options = {
      host: '127.0.0.1',
      servername: 'localhost',
      port: site.port,
      ca: pki.ca.certificatePem,
      cert: client.certificatePem,
      key: client.keyPem,
      minVersion: version,
      maxVersion: version,
    }
    const first = connect(options)
    let session: Buffer | undefined
    first.on('session', (given: Buffer) => (session = given))
    first.on('secureConnect', () => first.write(get))
    await once(first.resume(), 'close')
    session ??= first.getSession()
    const second = connect({ ...options, ...(session === undefined ? {} : { session }) })
    await once(second, 'secureConnect')
    t.equal(second.isSessionReused(), false, version)
    second.destroy()
  }
})

threat('a removed authority', async (t) => {
  const site = await start(t, 'optional')
  const early = await keep(site, client)
  const late = await keep(site, client)
  t.equal(await early(), '200')
  t.ok(await change(site, (yaml) => yaml.replace('[site-ca.crt]', '[ca.crt]')))
  t.match(await early(), /^(403|closed)$/, 'a connection with requests before')
  t.match(await late(), /^(403|closed)$/, 'one whose first request comes after')
  t.match((await site.raw(get, { client })).text, /^HTTP\/1.1 403 /, 'a new one')
})

threat('an older revocation list', async (t) => {
  const site = await start(t, 'optional')
  const file = join(site.folder, 'ca.crl')
  const old = await makeCrl({ issuer: ca, number: 1 })
  writeFileSync(file, (await makeCrl({ issuer: ca, revoked: [client], number: 2 })).pem)
  t.ok(await change(site, (yaml) => yaml.replace('[site-ca.crt]', '[site-ca.crt], crl: [ca.crl]')))
  t.match((await site.raw(get, { client })).text, /^HTTP\/1.1 403 /)
  writeFileSync(file, old.pem)
  t.equal(await site.reload(), false, 'refused')
  t.match((await site.raw(get, { client })).text, /^HTTP\/1.1 403 /, 'and who is revoked stays so')
})

threat('a reload with a wrong file', async (t) => {
  const site = await start(t, 'optional')
  writeFileSync(join(site.folder, 'site-ca.crt'), 'no certificate')
  t.equal(await site.reload(), false)
  t.match((await site.raw(get, { client })).text, /^HTTP\/1.1 200 /, 'what was in use is in use')
  t.match((await site.raw(get, { client: wrong['unknown_ca'] ?? null })).text, /^HTTP\/1.1 403 /)
  t.ok(site.lines.some(({ msg }) => /reload refused/.test(String(msg))))
  t.ok((await site.metric('portcullis_reloads_total', { result: 'refused' })) > 0)
})
