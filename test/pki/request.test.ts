// Requests made by OpenSSL, right and wrong, and the certificates that come of them.
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { readRequest } from '../../src/pki/request.ts'
import { issueClient, makeFolder, openssl, verify } from '../helpers/pki.ts'
import { optionsFor } from '../requirements.ts'

const suite = optionsFor('pki')

function makeRequest(t: Test, options: { newkey?: string[]; subject?: string; names?: string }) {
  const { newkey = ['rsa:2048'], subject = '/O=Site/CN=node-7', names } = options
  const folder = t.testdir({})
  const [key, csr] = [join(folder, 'node.key'), join(folder, 'node.csr')]
  const made = openssl([
    'req',
    '-new',
    '-newkey',
    ...newkey,
    '-nodes',
    '-keyout',
    key,
    '-out',
    csr,
    '-subj',
    subject,
    ...(names === undefined ? [] : ['-addext', `subjectAltName=${names}`]),
  ])
  if (made.status !== 0) throw new Error(made.stderr)
  return { keyPem: readFileSync(key, 'utf8'), csr, pem: readFileSync(csr) }
}

const p256 = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256']

t.test('subject and names as they come, everything else as we issue it', suite, async (t) => {
  const { pem, keyPem } = makeRequest(t, {
    newkey: p256,
    names: 'DNS:node-7.local,IP:10.0.0.7,URI:spiffe://example.org/node-7',
  })
  const request = await readRequest(pem)
  t.equal(request.commonName, 'node-7')
  const dir = await makeFolder(t)
  const issuance = await issueClient(dir, 'node-7', { request, dnsNames: ['more.local'] })
  t.same(issuance.files, [join(dir, 'node-7.crt')], 'there is no key to write')
  t.equal(issuance.keyPem, undefined)
  const certificate = new X509Certificate(issuance.chainPem)
  t.equal(certificate.subject, 'O=Site\nCN=node-7')
  t.equal(
    certificate.subjectAltName,
    'DNS:node-7.local, DNS:more.local, IP Address:10.0.0.7, URI:spiffe://example.org/node-7',
  )
  t.same(certificate.keyUsage, ['1.3.6.1.5.5.7.3.2'])
  t.ok(certificate.checkPrivateKey(createPrivateKey(keyPem)))
  t.equal(verify(dir, 'node-7'), 'OK')
})

t.test('DER, RSA and Ed25519 too', suite, async (t) => {
  const { csr } = makeRequest(t, {})
  const der = join(csr, '..', 'node.der')
  openssl(['req', '-in', csr, '-outform', 'der', '-out', der])
  t.equal((await readRequest(readFileSync(der))).commonName, 'node-7')
  const { pem } = makeRequest(t, { newkey: ['ed25519'] })
  t.equal((await readRequest(pem)).commonName, 'node-7')
})

t.test('what is refused', suite, async (t) => {
  const refused = async (options: Parameters<typeof makeRequest>[1], message: RegExp) =>
    t.rejects(readRequest(makeRequest(t, options).pem), message)
  await refused({ newkey: ['rsa:1024'] }, /^--csr: is a weak key, RSA of 1024 bits/)
  await refused(
    { newkey: ['ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1'] },
    /^--csr: is on the curve secp256k1/,
  )
  await refused({ subject: '/O=Site' }, /^--csr: has a subject whose common name is empty/)
  await refused(
    { names: 'email:a@b.example' },
    /^--csr: has an alternative name of the kind "email"/,
  )
  await t.rejects(readRequest(Buffer.from('nonsense')), /^--csr: is no certificate signing request/)

  const { pem } = makeRequest(t, { newkey: p256 })
  const [head = '', ...lines] = pem.toString().trim().split('\n')
  const der = Buffer.from(lines.slice(0, -1).join(''), 'base64')
  const at = der.indexOf('node-7')
  der.write('node-8', at)
  const forged = [head, der.toString('base64'), lines.at(-1), ''].join('\n')
  await t.rejects(readRequest(Buffer.from(forged)), /^--csr: has a bad signature/)
})

t.test('names in a request are checked like those on the command line', suite, async (t) => {
  const { pem } = makeRequest(t, { newkey: p256, names: 'DNS:a b' })
  const dir = await makeFolder(t)
  const request = await readRequest(pem)
  await t.rejects(issueClient(dir, 'node-7', { request }), /^dnsNames: "a b" is no DNS name/)
})
