// The four TLS modes against servers that are right and wrong, and the files that they need.
import { execFileSync, spawn } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createPlainServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import t, { type Test } from 'tap'
import { UsageError } from '../../src/errors.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { openPkcs12Files } from '../../src/upstream/tls.ts'
import { openIdentities } from '../../src/upstream/endpoints/files.ts'
import { createUpstreams } from '../../src/upstream/upstreams.ts'
import { ask, startUpstreams, upstreamConfig, type Overrides } from '../helpers/ask.ts'
import { makeCertificate } from '../helpers/certificates.ts'
import { diagnoseUpstream, failureIn } from '../helpers/diagnosis.ts'
import { recordingLog } from '../helpers/listener.ts'
import { testPki } from '../helpers/tls.ts'
import { startUpstream, status } from '../helpers/upstream.ts'
import { optionsFor } from '../requirements.ts'

const pki = await testPki()
const image = await buildSampleImage({ layerBytes: 1000 })

type Files = Record<string, string | Buffer>

function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'portcullis-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}

/** Paths of files with the given content. */
function files<Names extends Files>(t: Test, contents: Names): Record<keyof Names, string> {
  const folder = temporaryFolder(t)
  const paths = Object.entries(contents).map(([name, content]) => {
    writeFileSync(join(folder, name), content)
    return [name, join(folder, name)] as const
  })
  return Object.fromEntries(paths) as Record<keyof Names, string>
}

const issued = { cert: pki.server.certificatePem, key: pki.server.keyPem }
const mutual = { ...issued, ca: pki.ca.certificatePem, requestCert: true, rejectUnauthorized: true }

/** Starts an upstream with `server` and asks it once by the name `host`. */
async function askOver(
  t: Test,
  server: TlsOptions,
  tls: Overrides['tls'],
  { host = 'localhost', ...others }: Partial<Overrides> & { host?: string } = {},
) {
  const upstream = await startUpstream(t, { repositories: { app: image }, tls: server })
  const url = `https://${host}:${upstream.port}`
  const client = startUpstreams(
    t,
    { url, ...others, ...(tls === undefined ? {} : { tls }) },
    await openPkcs12Files(tls === undefined ? [] : [tls]),
  )
  const told = await ask(client.open, {})
  return { ...told, upstream, client }
}

t.test('one-way TLS with a CA file', async (t) => {
  const { ca, otherCa } = files(t, {
    ca: pki.ca.certificatePem,
    otherCa: pki.otherCa.certificatePem,
  })
  const right = await askOver(t, issued, { ca })
  t.equal(right.response?.status, 200)

  const wrong = await askOver(t, issued, { ca: otherCa })
  t.match(wrong.error, { code: 'UPSTREAM_FAILED', reason: 'unknown_ca' })
  t.match(wrong.error?.message, 'upstreams.up.tls.ca')
  t.equal(wrong.upstream.requests.length, 0)
  t.equal(wrong.client.attempts.length, 1, 'that does not change by trying again')

  const none = await askOver(t, issued, {})
  t.equal(none.error?.reason, 'unknown_ca', 'the public roots do not know it')
})

t.test('certificates of the upstream that are wrong', async (t) => {
  const { ca } = files(t, { ca: pki.ca.certificatePem })
  const name = { cert: pki.wrongNameServer.certificatePem, key: pki.wrongNameServer.keyPem }
  const wrongName = await askOver(t, name, { ca })
  t.match(wrongName.error, { code: 'UPSTREAM_FAILED', reason: 'wrong_name' })
  t.match(wrongName.error?.message, 'upstreams.up.tls.serverName')
  const old = { cert: pki.expiredServer.certificatePem, key: pki.expiredServer.keyPem }
  const expired = await askOver(t, old, { ca })
  t.match(expired.error, { code: 'UPSTREAM_FAILED', reason: 'expired' })
  const other = { cert: pki.client.certificatePem, key: pki.client.keyPem }
  t.match((await askOver(t, other, { ca })).error?.reason, /^wrong_(?:name|purpose)$/)
})

t.test('a certificate that is signed with SHA-1 has a reason of its own', async (t) => {
  const authority = await makeCertificate({ subject: 'CN=Old CA', ca: true })
  const names = { dnsNames: ['localhost'], purposes: ['server' as const] }
  const leaf = await makeCertificate({
    subject: 'CN=localhost',
    issuer: authority,
    hash: 'SHA-1',
    ...names,
  })
  const { ca } = files(t, { ca: authority.certificatePem })
  const server = { cert: leaf.certificatePem, key: leaf.keyPem, ciphers: 'DEFAULT@SECLEVEL=0' }
  const { error } = await askOver(t, server, { ca })
  t.match(error, { code: 'UPSTREAM_FAILED', reason: 'weak_algorithm', message: /SHA-1/ })
  const { diagnosis } = await diagnoseUpstream(t, { server, config: { tls: { ca } } })
  t.match(failureIn(diagnosis), { step: 'tls', reason: 'weak_algorithm', message: /SHA-1/ })
})

t.test('serverName is what is asked for and expected', async (t) => {
  const { ca } = files(t, { ca: pki.ca.certificatePem })
  let asked: string | undefined
  const server = {
    cert: pki.wrongNameServer.certificatePem,
    key: pki.wrongNameServer.keyPem,
    SNICallback: (name: string, done: (error: null) => void) => {
      asked = name
      done(null)
    },
  }
  const right = await askOver(t, server, { ca, serverName: 'elsewhere.example' })
  t.equal(right.response?.status, 200)
  t.equal(asked, 'elsewhere.example')
  const wrong = await askOver(t, issued, { ca, serverName: 'elsewhere.example' })
  t.equal(wrong.error?.reason, 'wrong_name')
})

t.test('an address is a name, too', async (t) => {
  const { ca } = files(t, { ca: pki.ca.certificatePem })
  t.equal((await askOver(t, issued, { ca }, { host: '127.0.0.1' })).response?.status, 200)
  t.equal((await askOver(t, issued, { ca, serverName: '127.0.0.1' })).response?.status, 200)
  t.equal((await askOver(t, issued, { ca, serverName: '127.0.0.2' })).error?.reason, 'wrong_name')
})

t.test('verify: false takes any certificate, and is told', async (t) => {
  const old = { cert: pki.expiredServer.certificatePem, key: pki.expiredServer.keyPem }
  const { response, client } = await askOver(t, old, { verify: false })
  t.equal(response?.status, 200)
  t.same(client.insecure, ['up'])
  t.match(client.lines, [
    { level: 40, upstream: 'up', msg: /INSECURE: upstreams\.up\.tls\.verify/ },
  ])
  const { ca } = files(t, { ca: pki.ca.certificatePem })
  const secure = await askOver(t, issued, { ca })
  t.same(secure.client.insecure, [])
  t.same(secure.client.lines, [])
})

t.test('two-way TLS', async (t) => {
  const { ca, cert, key } = files(t, {
    ca: pki.ca.certificatePem,
    cert: pki.client.certificatePem,
    key: pki.client.keyPem,
  })
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const server = { ...mutual, maxVersion }
    const right = await askOver(t, server, { ca, cert, key })
    t.equal(right.response?.status, 200)
    t.equal(right.upstream.requests[0]?.peerSubject, 'CN=client')
    const missing = await askOver(t, server, { ca })
    t.match(missing.error, { code: 'UPSTREAM_FAILED', reason: 'client_certificate_required' })
    t.match(missing.error?.message, 'upstreams.up.tls.cert')
  }
})

t.test('a client certificate with verify: false', async (t) => {
  const { cert, key } = files(t, { cert: pki.client.certificatePem, key: pki.client.keyPem })
  const { upstream, response } = await askOver(t, mutual, { verify: false, cert, key })
  t.equal(response?.status, 200)
  t.equal(upstream.requests[0]?.peerSubject, 'CN=client')
})

t.test('what nginx says of client certificates', async (t) => {
  const page = (text: string) => `<html><head><title>400 ${text}</title></head></html>`
  for (const [text, reason] of [
    ['No required SSL certificate was sent', 'client_certificate_required'],
    ['The SSL certificate error', 'client_certificate_refused'],
    ['The plain HTTP request was sent to HTTPS port', 'not_tls'],
    ['Bad Request', 'http_4xx'],
  ] as const) {
    const faults = [status(400, { 'content-type': 'text/html' }, page(text))]
    const upstream = await startUpstream(t, { repositories: { app: image }, faults })
    const client = startUpstreams(t, { url: upstream.url })
    const { error } = await ask(client.open, {})
    t.match(error, { code: 'UPSTREAM_FAILED', reason })
    t.match(client.lines, [{ reason, detail: new RegExp(text) }], 'the page is in the log')
    t.notMatch(error?.message, text, 'and not in the answer')
  }
})

t.test('client certificates that the upstream does not take', optionsFor('upstream'), async (t) => {
  const { ca, cert, key } = files(t, {
    ca: pki.ca.certificatePem,
    cert: pki.otherClient.certificatePem,
    key: pki.otherClient.keyPem,
  })
  const port = await startOpenSsl(t)
  const client = startUpstreams(t, { url: `https://localhost:${port}`, tls: { ca, cert, key } })
  const { error } = await ask(client.open, {})
  t.match(error, { code: 'UPSTREAM_FAILED', reason: 'client_certificate_refused' })
  const without = startUpstreams(t, { url: `https://localhost:${port}`, tls: { ca } })
  const missing = await ask(without.open, {})
  t.match(missing.error, { reason: 'client_certificate_required' })
})

t.test('PKCS#12, and encrypted keys', optionsFor('upstream'), async (t) => {
  const passphrase = 'correct horse'
  const encryptedKey = createPrivateKey(pki.client.keyPem)
    .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase })
    .toString()
  const rsa = generateRsaClient(t)
  const { ca, cert, key, pass, wrongPass } = files(t, {
    ca: pki.ca.certificatePem,
    cert: pki.client.certificatePem,
    key: encryptedKey,
    pass: `${passphrase}\n`,
    wrongPass: 'wrong',
  })
  const pfx = exportPkcs12(t, pki.client, passphrase)
  const legacy = exportPkcs12(t, pki.client, passphrase, '-legacy')
  const open = exportPkcs12(t, pki.client, '')
  for (const tls of [
    { ca, cert, key, passphraseFile: pass },
    { ca, pfx, passphraseFile: pass },
    { ca, pfx: legacy, passphraseFile: pass },
    { ca, pfx: open },
  ]) {
    const { upstream, response } = await askOver(t, mutual, tls)
    t.equal(response?.status, 200)
    t.equal(upstream.requests[0]?.peerSubject, 'CN=client')
  }
  const byRsa = await askOver(
    t,
    { ...mutual, ca: rsa.certificatePem },
    { ca, pfx: exportPkcs12(t, rsa, passphrase), passphraseFile: pass },
  )
  t.equal(byRsa.upstream.requests[0]?.peerSubject, 'CN=rsa')
  const words = 'Grüße, κόσμε 🔑'
  const { wordsFile } = files(t, { wordsFile: words })
  for (const kind of [
    ['-macalg', 'sha512'],
    ['-legacy'],
    ['-nomac'],
    ['-descert', '-iter', '9000'],
  ]) {
    const foreign = {
      ca,
      pfx: exportPkcs12(t, pki.client, words, ...kind),
      passphraseFile: wordsFile,
    }
    const { upstream } = await askOver(t, mutual, foreign)
    t.equal(upstream.requests[0]?.peerSubject, 'CN=client', kind.join(' '))
  }
  t.match(await problemsOf({ ca, cert, key, passphraseFile: wrongPass }), [
    /^upstreams\.up\.tls\.key: cannot be opened: check the passphrase/,
  ])
  t.match(await problemsOf({ ca, cert, key }), [/^upstreams\.up\.tls\.key: is encrypted/])
  t.match(await problemsOf({ pfx, passphraseFile: wrongPass }), [
    /^upstreams\.up\.tls\.pfx: cannot be opened: check the passphrase/,
  ])
  t.match(await problemsOf({ pfx }), [/^upstreams\.up\.tls\.pfx: cannot be opened/])
  t.match(await problemsOf({ pfx: cert }), [/^upstreams\.up\.tls\.pfx: is no PKCS#12 file/])
})

t.test(
  'a PKCS#12 file of many iterations stops nothing else',
  optionsFor('upstream'),
  async (t) => {
    const { pass } = files(t, { pass: 'correct horse' })
    const pfx = exportPkcs12(t, pki.client, 'correct horse', '-iter', '600000')
    let turns = 0
    const timer = setInterval(() => (turns += 1), 1)
    const opened = await openPkcs12Files([{ pfx, passphraseFile: pass }])
    clearInterval(timer)
    t.match([...opened.values()], [{ cert: pki.client.certificatePem }])
    t.ok(turns >= 50, `others had ${turns} turns`)
  },
)

t.test(
  'an authority in a PKCS#12 file is not trusted for that',
  optionsFor('upstream'),
  async (t) => {
    const { authority } = files(t, { authority: pki.otherCa.certificatePem })
    const more = ['-certfile', authority]
    const pfx = exportPkcs12(t, pki.otherClient, '', ...more)
    const { ca } = files(t, { ca: pki.ca.certificatePem })
    const server = { cert: pki.otherServer.certificatePem, key: pki.otherServer.keyPem }
    const { error, upstream } = await askOver(t, server, { ca, pfx })
    t.equal(error?.reason, 'unknown_ca')
    t.equal(upstream.requests.length, 0)
  },
)

t.test('files that are missing, damaged or of one another', async (t) => {
  const good = files(t, {
    cert: pki.client.certificatePem,
    key: pki.client.keyPem,
    otherKey: pki.otherClient.keyPem,
    reversed: pki.ca.certificatePem + pki.client.certificatePem,
    garbage: 'no certificate',
    damaged: pki.client.certificatePem.replace(/\n.{30}/, '\n'),
    empty: '',
  })
  const { cert, key, garbage } = good
  for (const [tls, expected] of [
    [{ ca: '/nowhere.crt' }, /tls\.ca: cannot read \/nowhere\.crt: there is no such file/],
    [{ ca: garbage }, /tls\.ca: has no PEM certificate/],
    [{ ca: good.damaged }, /tls\.ca: is damaged: certificate 1 of 1/],
    [{ cert: garbage, key }, /tls\.cert: has no PEM certificate/],
    [{ cert, key: garbage }, /tls\.key: has no usable PEM private key/],
    [{ cert, key: good.otherKey }, /tls\.key: does not belong to the certificate/],
    [{ cert: good.reversed, key }, /tls\.key: belongs to a certificate further down/],
    [{ cert, key, passphraseFile: good.empty }, /tls\.passphraseFile: .*empty is empty/],
  ] as const) {
    t.match(await problemsOf(tls), [expected])
  }
  t.match(
    await problemsOf({ ca: garbage, cert: '/nowhere.crt', key: good.empty }),
    [/tls\.ca: /, /tls\.cert: /, /tls\.key: /],
    'all of them at once',
  )
})

t.test('a client certificate that has expired is told, and does not stop the start', async (t) => {
  const { cert, key } = files(t, {
    cert: pki.expiredClient.certificatePem,
    key: pki.expiredClient.keyPem,
  })
  const { lines } = startUpstreams(t, { url: 'https://localhost', tls: { cert, key } })
  t.match(lines, [{ level: 40, msg: /upstreams\.up\.tls\.cert has expired on / }])
})

t.test('when the certificates for an upstream end', optionsFor('upstream'), async (t) => {
  const { cert, key } = files(t, {
    cert: pki.client.certificatePem.trim(),
    key: pki.client.keyPem,
  })
  const pfx = exportPkcs12(t, pki.client, '')
  const expiresAt = new X509Certificate(pki.client.certificatePem).validToDate.getTime()
  const end = { kind: 'certificate', name: 'CN=client', expiresAt }
  const byFiles = startUpstreams(t, { url: 'https://localhost', tls: { cert, key } })
  t.match(byFiles.expiries, [{ ...end, use: 'upstreams.up.tls.cert', file: cert }])
  const byPfx = startUpstreams(
    t,
    { url: 'https://localhost', tls: { pfx } },
    await openPkcs12Files([{ pfx }]),
  )
  t.match(byPfx.expiries, [{ ...end, use: 'upstreams.up.tls.pfx', file: pfx }])
})

t.test('plain HTTP where TLS is, and the reverse', async (t) => {
  const plain = await startUpstream(t, { repositories: { app: image } })
  const overTls = startUpstreams(t, { url: `https://localhost:${plain.port}` })
  const wrongVersion = await ask(overTls.open, {})
  t.match(wrongVersion.error, { code: 'UPSTREAM_FAILED', reason: 'not_tls' })
  t.match(wrongVersion.error?.message, 'upstreams.up.url')

  const alerting = createPlainServer((socket) => {
    socket.once('data', () => socket.end(Buffer.from([0x15, 3, 3, 0, 2, 2, 70])))
  }).listen(0, '127.0.0.1')
  await new Promise((done) => alerting.once('listening', done))
  t.teardown(() => alerting.close())
  const { port } = alerting.address() as AddressInfo
  const overHttp = startUpstreams(t, { url: `http://127.0.0.1:${port}` })
  t.match((await ask(overHttp.open, {})).error, { reason: 'not_tls' })
})

t.test('TLS below 1.2 is refused', async (t) => {
  const { ca } = files(t, { ca: pki.ca.certificatePem })
  const old = { maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' } as const
  const { error } = await askOver(t, { ...issued, ...old }, { ca })
  t.match(error, { code: 'UPSTREAM_FAILED', reason: 'tls' })
})

t.test('a handshake that stands still', async (t) => {
  const silent = createPlainServer(() => {}).listen(0, '127.0.0.1')
  await new Promise((done) => silent.once('listening', done))
  t.teardown(() => silent.close())
  const { port } = silent.address() as AddressInfo
  const client = startUpstreams(t, { url: `https://127.0.0.1:${port}`, connectTimeout: 100 })
  t.match((await ask(client.open, {})).error, { code: 'UPSTREAM_TIMEOUT', reason: 'timeout' })
})

t.test('each connection is a handshake of its own: no session is carried over', async (t) => {
  const { ca } = files(t, { ca: pki.ca.certificatePem })
  const reused: boolean[] = []
  const server = createTlsServer({ ...issued }, (socket) => {
    reused.push(socket.isSessionReused())
    socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
  }).listen(0, '127.0.0.1')
  await new Promise((done) => server.once('listening', done))
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const client = startUpstreams(t, { url: `https://localhost:${port}`, tls: { ca } })
  for (let n = 0; n < 3; n += 1) await ask(client.open, {})
  t.same(reused, [false, false, false])
})

/** Paths and messages of what is wrong with `tls`. */
async function problemsOf(tls: Overrides['tls']): Promise<string[]> {
  try {
    const metrics = { attempt() {}, badAnswer() {}, insecureUpstreams() {} }
    const config = upstreamConfig({
      url: 'https://localhost',
      ...(tls === undefined ? {} : { tls }),
    })
    const upstreams = { up: config }
    const identities = await openIdentities(upstreams)
    createUpstreams({ upstreams, identities, log: recordingLog().log, metrics })
    return []
  } catch (error) {
    if (error instanceof UsageError) return error.message.split('\n')
    throw error
  }
}

function exportPkcs12(
  t: Test,
  { certificatePem, keyPem }: { certificatePem: string; keyPem: string },
  passphrase: string,
  ...more: string[]
): string {
  const { pem } = files(t, { pem: certificatePem + keyPem })
  const out = `${pem}.p12`
  const from = ['-in', pem, '-passout', `pass:${passphrase}`, '-out', out]
  execFileSync('openssl', ['pkcs12', '-export', ...from, ...more])
  return out
}

function generateRsaClient(t: Test): { certificatePem: string; keyPem: string } {
  const folder = temporaryFolder(t)
  const [key, cert] = [join(folder, 'rsa.key'), join(folder, 'rsa.crt')]
  execFileSync(
    'openssl',
    [...'req -x509 -newkey rsa:2048 -nodes -subj /CN=rsa'.split(' '), '-keyout', key, '-out', cert],
    { stdio: 'ignore' },
  )
  return { certificatePem: readFileSync(cert, 'utf8'), keyPem: readFileSync(key, 'utf8') }
}

/** A server of OpenSSL's own, which sends the alerts that Node's leaves out. */
async function startOpenSsl(t: Test): Promise<number> {
  const { ca, cert, key } = files(t, {
    ca: pki.ca.certificatePem,
    cert: pki.server.certificatePem,
    key: pki.server.keyPem,
  })
  const server = spawn('openssl', [
    ...'s_server -accept 127.0.0.1:0 -Verify 1 -verify_return_error -WWW'.split(' '),
    '-CAfile',
    ca,
    '-cert',
    cert,
    '-key',
    key,
  ])
  t.teardown(() => server.kill())
  let output = ''
  for await (const chunk of server.stdout) {
    output += String(chunk)
    const port = /ACCEPT 127\.0\.0\.1:(\d+)/.exec(output)?.[1]
    if (port !== undefined) return Number(port)
  }
  throw new Error(`openssl s_server has ended: ${output}`)
}
