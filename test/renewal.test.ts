// A reload that names other files: what is in force is what the config and its files say now.
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { connect } from 'node:tls'
import t from 'tap'
import { issueCertificate } from '../src/pki/authority.ts'
import { signCrl } from '../src/pki/crl.ts'
import type { LedgerRecord } from '../src/pki/state/ledger.ts'
import { startTestGateway, type TestGateway } from './helpers/gateway.ts'
import { testPki } from './helpers/tls.ts'

const pki = await testPki()
const next = await issueCertificate(pki.otherCa, {
  profile: 'server',
  commonName: 'next',
  dnsNames: ['localhost'],
  ipAddresses: ['127.0.0.1'],
})
const files = {
  'next.crt': next.certificatePem,
  'next.key': next.keyPem,
  'next-ca.crt': pki.otherCa.certificatePem,
}
const limit = { timeout: 60_000 }

function edit({ folder }: TestGateway, change: (yaml: string) => string): void {
  const file = join(folder, 'gateway.yaml')
  writeFileSync(file, change(readFileSync(file, 'utf8')))
}

const renamed = (yaml: string) =>
  yaml
    .replace('cert: server.crt, key: server.key', 'cert: next.crt, key: next.key')
    .replace('clientCa: [ca.crt]', 'clientCa: [next-ca.crt]')

/** The name in the certificate presented on `port`. */
async function presented(port: number): Promise<string | undefined> {
  const { certificatePem: cert, keyPem: key } = pki.otherClient
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, cert, key })
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  const { subject } = socket.getPeerCertificate()
  socket.destroy()
  return String(subject.CN)
}

/** The status for a client of either authority, whichever certificate the gateway shows. */
async function statusFor(port: number, client: { certificatePem: string; keyPem: string }) {
  const { certificatePem: cert, keyPem: key } = client
  const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, cert, key })
  socket.on('error', () => undefined)
  await once(socket, 'secureConnect')
  socket.write('GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const [head] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return head.toString().split(' ')[1]
}

t.test('another cert and clientCa are in force when the reload says so', limit, async (t) => {
  const gateway = await startTestGateway(t, 'upstreams: {}\n', { files })
  const { port } = gateway
  t.equal(await statusFor(port, pki.client), '200')
  edit(gateway, renamed)
  t.equal(await gateway.reload(), true)
  t.equal(await presented(port), 'next')
  t.equal(await statusFor(port, pki.client), '403')
  t.equal(await statusFor(port, pki.otherClient), '200')

  // A file that is new in the config is followed from now on.
  writeFileSync(join(gateway.folder, 'next-ca.crt'), pki.ca.certificatePem)
  while ((await statusFor(port, pki.client)) !== '200') await setTimeout(50)
  t.equal(await statusFor(port, pki.otherClient), '403')
})

t.test('watch and signal at once', limit, async (t) => {
  const gateway = await startTestGateway(t, 'upstreams: {}\n', { files })
  edit(gateway, renamed)
  writeFileSync(join(gateway.folder, 'ca.crt'), pki.ca.certificatePem)
  await setTimeout(40)
  const all = await Promise.all([gateway.reload(), setTimeout(30).then(() => gateway.reload())])
  t.same(all, [true, true])
  const settled = async () => {
    t.equal(await presented(gateway.port), 'next')
    t.equal(await statusFor(gateway.port, pki.client), '403')
  }
  await settled()
  await setTimeout(1000)
  await settled()
})

t.test('the admin listener as well', limit, async (t) => {
  const admin = 'admin: { port: 0, tls: { cert: server.crt, key: server.key } }'
  const other = await startTestGateway(t, 'upstreams: {}\n', { files, admin })
  t.equal(await presented(other.adminPort), 'localhost')
  edit(other, (yaml) => yaml.replace(admin, admin.replaceAll('server.', 'next.')))
  t.equal(await other.reload(), true)
  t.equal(await presented(other.adminPort), 'next')
  t.equal(await presented(other.port), 'localhost')
})

t.test('a name of the admin listener as well', limit, async (t) => {
  const other = await startTestGateway(t, 'upstreams: {}\n', { files, admin: 'admin: { port: 0 }' })
  const statusAs = async (host: string) => {
    const asked = get({ port: other.adminPort, path: '/metrics', headers: { host }, agent: false })
    const [answer] = (await once(asked, 'response')) as [IncomingMessage]
    answer.resume()
    return answer.statusCode
  }
  t.equal(await statusAs('ops.example'), 403)
  edit(other, (yaml) =>
    yaml.replace('admin: { port: 0 }', 'admin: { port: 0, names: [Ops.example] }'),
  )
  t.equal(await other.reload(), true)
  t.equal(await statusAs('ops.example'), 200)
  t.equal(await statusAs('else.example'), 403)
})

t.test('another list is in force when the reload says so', limit, async (t) => {
  const { serialNumber: serial } = new X509Certificate(pki.client.certificatePem)
  const at = new Date().toISOString()
  const revoked = {
    serial,
    issuer: pki.ca.keyId,
    revoked: { at, reason: 'superseded' },
  } as LedgerRecord
  const lists = {
    'empty.crl': await signCrl(pki.ca, [], { days: 1, previous: [] }),
    'next.crl': await signCrl(pki.ca, [revoked], { days: 1, previous: [] }),
  }
  const gateway = await startTestGateway(t, 'upstreams: {}\n', { files: lists })
  edit(gateway, (yaml) =>
    yaml.replace('clientCa: [ca.crt]', 'clientCa: [ca.crt], crl: [empty.crl]'),
  )
  t.equal(await gateway.reload(), true)
  t.equal(await statusFor(gateway.port, pki.client), '200')
  edit(gateway, (yaml) => yaml.replace('empty.crl', 'next.crl'))
  t.equal(await gateway.reload(), true)
  t.equal(await statusFor(gateway.port, pki.client), '403')
})

t.test('the problems of every issuer are told', limit, async (t) => {
  const gateway = await startTestGateway(t, 'upstreams: {}\n', { files })
  const issuer = (name: string, keys: string) =>
    `{ issuer: 'https://${name}.test', audience: portcullis, ${keys} }`
  edit(gateway, (yaml) =>
    yaml.replace(
      'upstreams: {}',
      `upstreams: {}
auth: { require: token, issuers: [${issuer('a', 'jwks: https://a.test/keys')},
  ${issuer('b', 'jwks: missing.json')}, ${issuer('c', 'jwks: gone.json')}] }`,
    ),
  )
  t.equal(await gateway.reload(), false)
  t.match(
    gateway.lines.find(({ msg }) => String(msg).startsWith('reload refused')),
    { problems: [{ path: 'auth.issuers.1.jwks' }, { path: 'auth.issuers.2.jwks' }] },
  )
})

t.test('a refused reload is told whole, and changes nothing', limit, async (t) => {
  const gateway = await startTestGateway(t, 'upstreams: {}\n', { files })
  const token = join(gateway.folder, 'token.key')
  edit(gateway, (yaml) =>
    renamed(yaml).replace(
      'upstreams: {}',
      `upstreams: { a.test: { tls: { verify: false } }, b.test: { tls: { ca: missing.crt } } }
auth: { require: token, tokenService: { key: token.key } }`,
    ),
  )
  rmSync(join(gateway.folder, 'next.crt'))
  t.equal(await gateway.reload(), false)
  const refused = gateway.lines.filter(({ msg }) => String(msg).startsWith('reload refused'))
  t.match(refused, [
    { part: 'config', problems: [{ path: 'upstreams.b.test.tls.ca' }] },
    { part: 'listen', problems: [{ path: 'listen.tls.cert' }] },
  ])
  const metrics = await (await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)).text()
  for (const part of ['config', 'listen']) {
    t.match(metrics, new RegExp(`portcullis_reloads_total\\{part="${part}",result="refused"\\} 1`))
  }
  t.notMatch(metrics, /portcullis_insecure_upstreams\{/)
  t.notOk(gateway.lines.some(({ msg }) => /INSECURE/.test(String(msg))))
  t.notOk(existsSync(token))
  t.equal(await statusFor(gateway.port, pki.client), '200')
})
