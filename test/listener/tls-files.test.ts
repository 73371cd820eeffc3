// Every file of a listener is checked before it is used, and each problem names its key.
import { writeFileSync } from 'node:fs'
import { generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { ListenerTlsConfig } from '../../src/config/schema.ts'
import { UsageError, type Problem } from '../../src/errors.ts'
import { readTlsFiles } from '../../src/listener/tls-files.ts'
import { makeCertificate } from '../helpers/certificates.ts'
import { makeSite, type Site } from '../helpers/listener.ts'

function problems(tls: ListenerTlsConfig): readonly Problem[] {
  try {
    readTlsFiles(tls, 'listen.tls')
  } catch (error) {
    if (error instanceof UsageError) return error.problems
    throw error
  }
  return []
}

/** The one problem of a site in which `file` has been overwritten. */
async function spoilt(t: Test, file: string, content: (site: Site) => string | Promise<string>) {
  const site = await makeSite(t, { clientAuth: 'required' })
  writeFileSync(join(site.folder, file), await content(site))
  const found = problems(site.tls)
  t.equal(found.length, 1, JSON.stringify(found))
  return found[0]
}

const day = 86_400_000

t.test('a sound set becomes TLS options', async (t) => {
  const { tls, ca } = await makeSite(t, { clientAuth: 'required' })
  t.match(readTlsFiles(tls, 'listen.tls').context, {
    ca: [ca.certificatePem],
    minVersion: 'TLSv1.2',
  })
  t.notOk('ca' in readTlsFiles({ ...tls, clientAuth: 'none' }, 'listen.tls').context)
})

t.test('missing files, all at once', async (t) => {
  const { tls, folder } = await makeSite(t)
  const gone = (name: string) => join(folder, 'gone', name)
  t.match(problems({ ...tls, cert: gone('a'), key: folder, clientCa: [gone('c')] }), [
    { path: 'listen.tls.cert', message: `cannot read ${gone('a')}: there is no such file` },
    { path: 'listen.tls.key', message: /it is a folder/ },
    { path: 'listen.tls.clientCa.0', message: /there is no such file/ },
  ])
})

t.test('garbage, which Node itself would ignore', async (t) => {
  const path = 'listen.tls.clientCa.0'
  t.match(await spoilt(t, 'ca.crt', () => 'garbage'), { path, message: /no PEM certificate/ })
  t.match(await spoilt(t, 'ca.crt', () => ''), { path, message: /no PEM certificate/ })
  const torn = ({ ca }: Site) => ca.certificatePem + ca.certificatePem.slice(0, 200)
  t.match(await spoilt(t, 'ca.crt', torn), { path, message: /certificate 2 of 2 is unreadable/ })
  const flipped = ({ ca }: Site) => ca.certificatePem.replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA')
  t.match(await spoilt(t, 'ca.crt', flipped), { path, message: /certificate 1 of 1/ })
  t.match(await spoilt(t, 'server.crt', () => 'garbage'), { path: 'listen.tls.cert' })
  t.match(await spoilt(t, 'server.key', () => 'garbage'), {
    path: 'listen.tls.key',
    message: /no usable PEM private key/,
  })
})

t.test('an authority that is none, or no longer', async (t) => {
  const path = 'listen.tls.clientCa.0'
  const leaf = ({ client }: Site) => client.certificatePem
  t.match(await spoilt(t, 'ca.crt', leaf), { path, message: /is no authority/ })
  const notAfter = new Date(Date.now() - day)
  const notBefore = new Date(Date.now() - 2 * day)
  const old = await makeCertificate({ subject: 'CN=Old', ca: true, notBefore, notAfter })
  t.match(await spoilt(t, 'ca.crt', () => old.certificatePem), { path, message: /has expired/ })
  const { tls, folder, ca } = await makeSite(t, { clientAuth: 'required' })
  writeFileSync(join(folder, 'ca.crt'), old.certificatePem + ca.certificatePem)
  t.same(problems(tls), [], 'one that is still valid is enough')
})

t.test('authorities that lead to no root', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const past = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) }
  const oldRoot = await makeCertificate({ subject: 'CN=Old Root', ca: true, ...past })
  const ofOld = await makeCertificate({ subject: 'CN=Sub', issuer: oldRoot, ca: true })
  const issuing = await makeCertificate({ subject: 'CN=Issuing', issuer: site.ca, ca: true })
  const write = (...all: { certificatePem: string }[]) => {
    writeFileSync(join(site.folder, 'ca.crt'), all.map((one) => one.certificatePem).join(''))
    return problems(site.tls)
  }
  const path = 'listen.tls.clientCa.0'
  t.match(write(issuing), [{ path, message: /no use for CN=Issuing: CN=Test CA.* is missing/ }])
  t.match(write(ofOld, oldRoot), [{ path, message: /CN=Old Root, .* has expired/ }])
  t.same(write(issuing, site.ca), [])
  t.same(write(issuing, site.ca, ofOld), [], 'the others still work')
  t.match(readTlsFiles(site.tls, 'listen.tls').warnings, [
    /^listen\.tls\.clientCa: is no use for CN=Sub: CN=Old Root, .* is missing/,
  ])
})

t.test('OpenSSL gets every certificate that was read, however the file is written', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const next = await makeCertificate({ subject: 'CN=Next CA', ca: true })
  const [one, two] = [site.ca.certificatePem, next.certificatePem]
  for (const [what, content] of [
    ['no line break between', one.trim() + two],
    [
      'line ends of Windows, behind a byte order mark',
      `\ufeff${one}${two}`.replaceAll('\n', '\r\n'),
    ],
    ['text around them', `Bag: x${one}between${two}`],
    ['one long line each', (one + two).replaceAll(/([^-])\n(?=[^-])/g, '$1')],
  ] as const) {
    writeFileSync(join(site.folder, 'ca.crt'), content)
    t.same(readTlsFiles(site.tls, 'listen.tls').context.ca, [one + two], what)
  }
})

t.test('a key beside a comment about encryption', async (t) => {
  const site = await makeSite(t)
  writeFileSync(site.tls.key ?? '', `# was ENCRYPTED\n${site.server.keyPem}`)
  t.same(problems(site.tls), [])
})

t.test('a key that does not belong to the certificate', async (t) => {
  t.match(await spoilt(t, 'server.key', ({ client }) => client.keyPem), {
    path: 'listen.tls.key',
    message: /does not belong/,
  })
  const wrongOrder = ({ ca, server }: Site) => ca.certificatePem + server.certificatePem
  t.match(await spoilt(t, 'server.crt', wrongOrder), {
    path: 'listen.tls.cert',
    message: /must begin with the server's own/,
  })
})

t.test('a key with a passphrase', async (t) => {
  const encrypted = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' },
  }).privateKey
  t.match(await spoilt(t, 'server.key', () => encrypted), {
    path: 'listen.tls.key',
    message: /is encrypted/,
  })
})

t.test('a certificate that has expired or is for clients', async (t) => {
  const site = await makeSite(t)
  const notBefore = new Date(Date.now() - 2 * day)
  const base = { subject: 'CN=localhost', issuer: site.ca }
  const spoil = async (options: { purposes: ('client' | 'server')[]; notAfter?: Date }) => {
    const made = await makeCertificate({ ...base, notBefore, ...options })
    writeFileSync(join(site.folder, 'server.crt'), made.certificatePem)
    writeFileSync(join(site.folder, 'server.key'), made.keyPem)
    return problems(site.tls)
  }
  const notAfter = new Date(Date.now() - day)
  t.match(await spoil({ purposes: ['server'], notAfter }), [
    { path: 'listen.tls.cert', message: /has expired/ },
  ])
  t.match(await spoil({ purposes: ['client'] }), [
    { path: 'listen.tls.cert', message: /lacks serverAuth/ },
  ])
})

t.test('a chain in which one certificate has nothing to do with those before it', async (t) => {
  const site = await makeSite(t)
  const issuing = await makeCertificate({ subject: 'CN=Issuing', issuer: site.ca, ca: true })
  const server = await makeCertificate({
    subject: 'CN=localhost',
    issuer: issuing,
    purposes: ['server'],
  })
  const write = (...certificates: { certificatePem: string }[]) => {
    writeFileSync(site.tls.cert ?? '', certificates.map((one) => one.certificatePem).join(''))
    writeFileSync(site.tls.key ?? '', server.keyPem)
    return problems(site.tls)
  }
  t.same(write(server, issuing, site.ca), [])
  t.match(write(server, site.client, issuing), [
    { path: 'listen.tls.cert', message: /certificate 2 has issued none/ },
  ])
  const other = await makeCertificate({ subject: 'CN=Issuing', ca: true })
  t.match(write(server, other), [{ path: 'listen.tls.cert' }], 'the same name, another key')
})
