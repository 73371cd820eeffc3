// A listener whose files are replaced while clients are connected.
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { writeFileSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import type { ListenerTlsConfig } from '../../src/config/schema.ts'
import { callerOf } from '../../src/identity/certificate.ts'
import { createReloader, type ReloadResult } from '../../src/listener/reload.ts'
import { expiriesInUse, renewalOf } from '../../src/listener/reload-tls.ts'
import { listenerScope } from '../helpers/reload.ts'
import { makeCertificate, type TestCertificate } from '../helpers/certificates.ts'
import { makeCrl } from '../helpers/crl.ts'
import { makeSite, noTls, startListener, type Site } from '../helpers/listener.ts'
import { swapLoop } from './swap-loop.ts'

/** A listener of `site` with a revocation list, its reloader, and clients that stay connected. */
async function rig(
  t: Test,
  clientAuth: ListenerTlsConfig['clientAuth'] = 'required',
  { withList = true, crlRollback = false } = {},
) {
  const site = await makeSite(t, { clientAuth })
  const crl = join(site.folder, 'ca.crl')
  const revoke = async (...revoked: TestCertificate[]) => {
    writeFileSync(crl, (await makeCrl({ issuer: site.ca, revoked })).pem)
  }
  await revoke()
  const begun: ServerResponse[] = []
  const tls = { ...site.tls, crlRollback, ...(withList ? { crl: [crl] } : {}) }
  const listener = await startListener(t, { tls }, (req, res) => {
    const caller = callerOf(req.socket)
    if (req.url === '/slow') {
      res.writeHead(200, { 'content-length': 8 }).write('half')
      begun.push(res)
    } else {
      res.end(caller.kind === 'refused' ? caller.reason : caller.kind)
    }
  })
  const everything = listenerScope(listener.server, () => tls)
  const results: ReloadResult[] = []
  const waiting: (() => void)[] = []
  const reloader = createReloader({
    everything,
    listeners: [],
    log: listener.log,
    onResult(result) {
      results.push(result)
      waiting.shift()?.()
    },
  })
  t.teardown(() => reloader.close())
  const reloaded = () => new Promise<void>((resolve) => waiting.push(resolve))
  const client = (certificate?: TestCertificate, ...sent: TestCertificate[]) =>
    stay(t, listener.port, site, certificate, ...sent)
  return { ...listener, site, crl, revoke, reloader, reloaded, results, begun, client }
}

/** A connection that is kept; `ask` sends a request and returns what comes next. */
async function stay(
  t: Test,
  port: number,
  site: Site,
  client?: TestCertificate,
  ...sent: TestCertificate[]
) {
  const tcp = connectTcp(port, '127.0.0.1')
  await once(tcp, 'connect')
  return overTls(t, tcp, site, client, ...sent)
}

/** The handshake over a connection that is there already. */
async function overTls(
  t: Test,
  tcp: Socket,
  site: Site,
  client?: TestCertificate,
  ...sent: TestCertificate[]
) {
  const chain = [client, ...sent].map((one) => one?.certificatePem ?? '').join('')
  const socket: TLSSocket = connect({
    socket: tcp,
    servername: 'localhost',
    ca: site.ca.certificatePem,
    ...(client && { cert: chain, key: client.keyPem }),
  })
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  const closed = bounded('close', once(socket, 'close'))
  // Most of them are never waited for.
  closed.catch(() => undefined)
  await once(socket, 'secureConnect')
  const answer = async (path = '/') => {
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    const [chunk] = await bounded('an answer', once(socket, 'data') as Promise<[Buffer]>)
    return chunk.toString()
  }
  const ask = async (path?: string) => (await answer(path)).split('\r\n\r\n')[1]
  return { socket, closed, answer, ask }
}

/** A test that waits for what never comes says so, and ends. */
function bounded<Value>(what: string, value: Promise<Value>): Promise<Value> {
  const late = delay(40_000, undefined, { ref: false }).then(() => {
    throw new Error(`${what} has not come`)
  })
  return Promise.race([value, late])
}

const anotherClient = ({ ca }: Site) =>
  makeCertificate({ subject: 'CN=edge-2', issuer: ca, purposes: ['client'] })

t.test('no handshake fails while certificate and key are replaced one by one', async (t) => {
  const { failures, handshakes, results, seen, last } = await swapLoop(100)
  t.same(failures, [])
  t.ok(handshakes > 100, `${handshakes} handshakes`)
  t.ok(results.some(({ result }) => result === 'ok'))
  t.ok(seen.has(last), 'the last certificate is in use')
})

t.test('the connections of a revoked client are closed, those of others are not', async (t) => {
  const { site, client, revoke, reloaded, begun, lines, refused } = await rig(t)
  const bad = await anotherClient(site)
  const idle = await client(bad)
  t.equal(await idle.ask(), 'certificate')
  const silent = await client(bad)
  const busy = await client(bad)
  t.equal(await busy.ask('/slow'), 'half')
  const other = await client(site.client)
  t.equal(await other.ask('/slow'), 'half')
  const done = reloaded()
  await revoke(bad)
  await done
  await Promise.all([idle.closed, silent.closed, busy.closed])
  begun[1]?.end('half')
  t.equal((await once(other.socket, 'data')).toString(), 'half', 'the transfer has gone on')
  t.equal(await other.ask(), 'certificate')
  t.equal(await (await client(bad)).ask(), 'revoked')
  t.same(refused, ['revoked', 'revoked', 'revoked'])
  t.match(
    lines.find(({ reason }) => reason === 'revoked'),
    { level: 40, subject: 'CN=edge-2', source: '127.0.0.1' },
  )
})

t.test('a revocation that is lifted again', async (t) => {
  const { site, client, revoke, reloaded } = await rig(t)
  // Waited for as the watch brings it: one that came later would close the connection before its answer.
  const taken = reloaded()
  await revoke(site.client)
  await taken
  const refused = await client(site.client)
  const answer = await refused.answer()
  t.match(answer, /\r\nconnection: close\r\n[^]*\r\n\r\nrevoked$/i)
  await refused.closed
  const lifted = reloaded()
  await revoke()
  await lifted
  t.equal(await (await client(site.client)).ask(), 'certificate')
})

t.test('an authority that is no longer trusted, and one that is new', async (t) => {
  const { site, crl, client, reloader, begun } = await rig(t, 'optional')
  const next = await makeCertificate({ subject: 'CN=Next CA', ca: true })
  const early = await makeCertificate({ subject: 'CN=early', issuer: next, purposes: ['client'] })
  const anonymous = await client()
  t.equal(await anonymous.ask(), 'anonymous')
  const before = await client(early)
  t.equal(await before.ask(), 'unknown_ca')
  const old = await client(site.client)
  t.equal(await old.ask('/slow'), 'half')

  writeFileSync(join(site.folder, 'ca.crt'), next.certificatePem)
  writeFileSync(crl, (await makeCrl({ issuer: next })).pem)
  t.equal(await reloader.reload(), true)
  await Promise.all([before.closed, old.closed])
  t.equal(begun.length, 1)
  t.equal(await anonymous.ask(), 'anonymous')
  t.equal(await (await client(early)).ask(), 'certificate')
  t.equal(await (await client(site.client)).ask(), 'unknown_ca')
})

t.test('a twin with another key does not pass for the authority that was removed', async (t) => {
  const { site, crl, client, reloader } = await rig(t)
  const open = await client(site.client)
  t.equal(await open.ask(), 'certificate')
  const twin = await makeCertificate({ subject: 'CN=Test CA', ca: true })
  writeFileSync(join(site.folder, 'ca.crt'), twin.certificatePem)
  writeFileSync(crl, (await makeCrl({ issuer: twin })).pem)
  t.equal(await reloader.reload(), true)
  await open.closed
})

t.test('without lists, too, a removed authority is in force no more', async (t) => {
  const { site, client, reloader, port } = await rig(t, 'required', { withList: false })
  const idle = await client(site.client)
  t.equal(await idle.ask(), 'certificate')
  const busy = await client(site.client)
  t.equal(await busy.ask('/slow'), 'half')
  const early = connectTcp(port, '127.0.0.1')
  await once(early, 'connect')
  // The answer says that the server has taken the other connections, too.
  t.equal(await (await client(site.client)).ask(), 'certificate')
  const next = await makeCertificate({ subject: 'CN=Test CA', ca: true })
  writeFileSync(join(site.folder, 'ca.crt'), next.certificatePem)
  t.equal(await reloader.reload(), true)
  await Promise.all([idle.closed, busy.closed])
  // Its handshake goes by the authorities that were in force when it connected.
  await delay(4500)
  const late = await overTls(t, early, site, site.client)
  await delay(6000)
  t.match(await late.answer(), /\r\nconnection: close\r\n[^]*\r\n\r\nunknown_ca$/i)
  await late.closed
})

for (const clientAuth of ['required', 'optional'] as const) {
  t.test(`authorities that travel with the client, while others go: ${clientAuth}`, async (t) => {
    const { site, client, reloader, port } = await rig(t, clientAuth, { withList: false })
    const other = await makeCertificate({ subject: 'CN=Other CA', ca: true })
    const ca = join(site.folder, 'ca.crt')
    writeFileSync(ca, site.ca.certificatePem + other.certificatePem)
    t.equal(await reloader.reload(), true)
    const issuing = await makeCertificate({ subject: 'CN=Issuing', issuer: site.ca, ca: true })
    const good = await makeCertificate({ subject: 'CN=g', issuer: issuing, purposes: ['client'] })
    const foreign = await makeCertificate({ subject: 'CN=Foreign', issuer: other, ca: true })
    const bad = await makeCertificate({ subject: 'CN=b', issuer: foreign, purposes: ['client'] })
    const kept = await client(good, issuing)
    t.equal(await kept.ask('/slow'), 'half')
    const cut = await client(bad, foreign)
    t.equal(await cut.ask(), 'certificate')
    const early = connectTcp(port, '127.0.0.1')
    await once(early, 'connect')
    t.equal(await (await client(good, issuing)).ask(), 'certificate')

    writeFileSync(ca, site.ca.certificatePem)
    t.equal(await reloader.reload(), true)
    await cut.closed
    t.equal(await (await overTls(t, early, site, good, issuing)).ask(), 'certificate')
    t.equal(await (await client(good, issuing)).ask(), 'certificate')
    t.notOk(kept.socket.destroyed)
  })
}

t.test('an authority renewed with its key, and one that crosses over', async (t) => {
  const { site, client, revoke, reloader, crl } = await rig(t)
  const ca = join(site.folder, 'ca.crt')
  const open = await client(site.client)
  t.equal(await open.ask(), 'certificate')
  const renewed = await makeCertificate({ subject: 'CN=Test CA', ca: true, keys: site.ca.keys })
  writeFileSync(ca, renewed.certificatePem)
  t.equal(await reloader.reload(), true)
  t.equal(await open.ask(), 'certificate')

  const next = await makeCertificate({ subject: 'CN=Next CA', ca: true })
  const crossed = await makeCertificate({
    subject: 'CN=Test CA',
    ca: true,
    issuer: next,
    keys: site.ca.keys,
  })
  writeFileSync(ca, next.certificatePem + crossed.certificatePem)
  t.equal(await reloader.reload(), true)
  t.equal(await open.ask(), 'certificate', 'one way to a root is enough')
  const nextList = await makeCrl({ issuer: next, revoked: [crossed] })
  await revoke()
  writeFileSync(crl, (await makeCrl({ issuer: site.ca })).pem + nextList.pem)
  t.equal(await reloader.reload(), true)
  await open.closed
})

t.test('a certificate that ends on an open connection: gone before it is refused', async (t) => {
  const { site, client } = await rig(t)
  const until = (ms: number) =>
    makeCertificate({
      subject: 'CN=short',
      issuer: site.ca,
      purposes: ['client'],
      notAfter: new Date(Date.now() + ms),
    })
  const idle = await client(await until(9000))
  t.notMatch(await idle.answer(), /connection: close/i)
  const late = await client(await until(4000))
  t.match(
    await late.answer(),
    /\r\nconnection: close\r\n[^]*certificate$/i,
    'served for the last time',
  )
  await Promise.all([late.closed, idle.closed])
  const long = await client(site.client)
  t.notMatch(await long.answer(), /connection: close/i)
})

t.test('an older list, or none any more, brings nobody back', async (t) => {
  const { site, crl, client, reloader, lines } = await rig(t)
  const revoked = [site.client]
  const list = async (number: number, more = {}) =>
    (await makeCrl({ issuer: site.ca, number, ...more })).pem
  writeFileSync(crl, await list(5, { revoked }))
  t.equal(await reloader.reload(), true)
  const thisUpdate = new Date()
  writeFileSync(crl, await list(4, { thisUpdate }))
  t.equal(await reloader.reload(), false)
  t.match(
    lines.findLast(({ level }) => level === 50),
    { problems: [{ path: 'listen.tls.crl.0', message: /older list of CN=Test CA/ }] },
  )
  t.equal(await (await client(site.client)).ask(), 'revoked')
  const other = await makeCertificate({ subject: 'CN=Other CA', ca: true })
  writeFileSync(join(site.folder, 'ca.crt'), site.ca.certificatePem + other.certificatePem)
  writeFileSync(crl, (await makeCrl({ issuer: other })).pem)
  t.equal(await reloader.reload(), false, 'the list is gone')
  writeFileSync(crl, await list(6, { thisUpdate }))
  t.equal(await reloader.reload(), true)
  t.equal(await (await client(site.client)).ask(), 'certificate')
})

t.test('an older list is taken where that is wanted', async (t) => {
  const { site, crl, client, reloader } = await rig(t, 'required', { crlRollback: true })
  const revoked = [site.client]
  writeFileSync(crl, (await makeCrl({ issuer: site.ca, number: 5, revoked })).pem)
  t.equal(await reloader.reload(), true)
  t.equal(await (await client(site.client)).ask(), 'revoked')
  writeFileSync(crl, (await makeCrl({ issuer: site.ca, number: 4 })).pem)
  t.equal(await reloader.reload(), true)
  t.equal(await (await client(site.client)).ask(), 'certificate')
})

t.test('a bad set changes nothing and is told with every problem', async (t) => {
  const { site, crl, client, reloader, results, lines, server } = await rig(t)
  const before = expiriesInUse(server)
  const open = await client(site.client)
  const other = await makeCertificate({ subject: 'CN=Test CA', ca: true })
  writeFileSync(crl, (await makeCrl({ issuer: site.ca, signer: other })).pem)
  writeFileSync(site.tls.key ?? '', site.client.keyPem)
  t.equal(await reloader.reload(), false)
  t.equal(await open.ask(), 'certificate')
  t.equal(await (await client(site.client)).ask(), 'certificate')
  t.equal(expiriesInUse(server), before)
  t.match(results, [{ part: 'listen', result: 'refused' }])
  t.match(
    lines.find(({ level }) => level === 50),
    { problems: [{ path: 'listen.tls.key' }, { path: 'listen.tls.crl.0' }] },
  )
})

t.test('the settings of the server outlive a reload', async (t) => {
  const { site, client, reloader, port } = await rig(t)
  await reloader.reload()
  const { socket } = await client(site.client)
  t.equal(socket.getProtocol(), 'TLSv1.3')
  const old = connect({
    port,
    host: '127.0.0.1',
    minVersion: 'TLSv1.1',
    maxVersion: 'TLSv1.1',
    ciphers: 'ALL@SECLEVEL=0',
  })
  const [error] = (await once(old, 'error')) as [NodeJS.ErrnoException]
  t.match(error.code, /PROTOCOL_VERSION/)
  const nobody = connect({
    port,
    host: '127.0.0.1',
    ca: site.ca.certificatePem,
    servername: 'localhost',
  })
  const [refusal] = (await once(nobody, 'error')) as [NodeJS.ErrnoException]
  t.match(refusal.code, /CERTIFICATE_REQUIRED/)
})

t.test('without TLS there is nothing to reload', async (t) => {
  const { server } = await startListener(t, { insecureHttp: true, tls: noTls }, () => undefined)
  t.equal(renewalOf(server), undefined)
  t.same(expiriesInUse(server), [])
})
