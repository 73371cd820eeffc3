// Issuing authorities of one name with two keys: each client is judged by the list of the one that
// has signed it, also where no key identifier says which that is.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { callerOf } from '../../../src/identity/certificate.ts'
import { readTlsFiles } from '../../../src/listener/tls-files.ts'
import { makeCertificate, type TestCertificate } from '../../helpers/certificates.ts'
import { makeCrl } from '../../helpers/crl.ts'
import { exchange, makeSite, startListener, type Site } from '../../helpers/listener.ts'

const get = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'

interface Issuing {
  authority: TestCertificate
  revoked: TestCertificate
  good: TestCertificate
}

async function makeIssuing({ ca }: Site, keyIdentifiers: boolean): Promise<Issuing> {
  const authority = await makeCertificate({
    subject: 'CN=Issuing',
    issuer: ca,
    ca: true,
    keyIdentifiers,
  })
  const client = { issuer: authority, purposes: ['client' as const], keyIdentifiers }
  return {
    authority,
    revoked: await makeCertificate({ ...client, subject: 'CN=revoked' }),
    good: await makeCertificate({ ...client, subject: 'CN=good' }),
  }
}

/** A listener for `authorities` in that order; each list is of one of them and revokes its own. */
async function start(t: Test, site: Site, authorities: Issuing[], listed: Issuing[]) {
  const write = (name: string, text: string) => {
    const file = join(site.folder, name)
    writeFileSync(file, text)
    return file
  }
  const lists = await Promise.all([
    makeCrl({ issuer: site.ca }),
    ...listed.map(({ authority, revoked }) => makeCrl({ issuer: authority, revoked: [revoked] })),
  ])
  const pems = authorities.map(({ authority }) => authority.certificatePem)
  const tls = {
    ...site.tls,
    clientCa: [...site.tls.clientCa, ...pems.map((pem, index) => write(`${index}.crt`, pem))],
    crl: [write('all.crl', lists.map(({ pem }) => pem).join(''))],
  }
  const { port } = await startListener(t, { tls }, (req, res) => {
    const caller = callerOf(req.socket)
    res.end(caller.kind === 'refused' ? caller.reason : caller.kind)
  })
  return async ({ certificatePem: cert, keyPem: key }: TestCertificate) => {
    const { text } = await exchange({ port, ca: site.ca.certificatePem, cert, key }, get)
    return text.split('\r\n\r\n')[1]
  }
}

for (const clientAuth of ['required', 'optional'] as const) {
  t.test(`by names alone: ${clientAuth}`, { timeout: 60_000 }, async (t) => {
    const site = await makeSite(t, { clientAuth })
    const old = await makeIssuing(site, false)
    const next = await makeIssuing(site, false)
    // OpenSSL tries the first of one name only, so each of them comes first once.
    for (const [first, second] of [
      [old, next],
      [next, old],
    ] as const) {
      const ask = await start(t, site, [first, second], [old, next])
      t.equal(await ask(first.revoked), 'revoked')
      t.equal(await ask(first.good), 'certificate')
      const without = await start(t, site, [first, second], [second])
      t.equal(await without(first.revoked), 'certificate', "the other's list says nothing of it")
    }
  })

  t.test(`with key identifiers, whatever the order: ${clientAuth}`, async (t) => {
    const site = await makeSite(t, { clientAuth })
    const both = [await makeIssuing(site, true), await makeIssuing(site, true)]
    const ask = await start(t, site, both, both)
    for (const { revoked, good } of both) {
      t.equal(await ask(revoked), 'revoked')
      t.equal(await ask(good), 'certificate')
    }
  })
}

t.test('roots that only a signature tells apart: the first alone, and that is told', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const root = { subject: 'CN=Edge CA', ca: true }
  const warningsOf = (...authorities: TestCertificate[]) => {
    const file = join(site.folder, 'clients.crt')
    writeFileSync(file, authorities.map(({ certificatePem }) => certificatePem).join(''))
    return readTlsFiles({ ...site.tls, clientCa: [file] }, 'listen.tls').warnings
  }
  const old = await makeCertificate({ ...root, keyIdentifiers: false })
  const next = await makeCertificate({ ...root, keyIdentifiers: false })
  t.match(warningsOf(old, next), [
    /^listen\.tls\.clientCa: CN=Edge CA has two keys, in .*clients\.crt/,
  ])
  const renewed = await makeCertificate({ ...root, keyIdentifiers: false, keys: old.keys })
  t.same(warningsOf(old, renewed), [], 'one key')
  t.same(warningsOf(old, await makeCertificate(root)), [], 'one of them has an identifier')
  const another = await makeCertificate({ ...root, subject: 'CN=B', keyIdentifiers: false })
  t.same(warningsOf(old, another), [], 'two names')

  const tls = { ...site.tls, clientCa: [join(site.folder, 'both.crt')] }
  writeFileSync(tls.clientCa[0] ?? '', old.certificatePem + next.certificatePem)
  const listener = await startListener(t, { tls }, (_req, res) => void res.end('in'))
  const ask = async (issuer: TestCertificate) => {
    const options = { subject: 'CN=edge-1', purposes: ['client' as const], keyIdentifiers: false }
    const { certificatePem: cert, keyPem: key } = await makeCertificate({ ...options, issuer })
    const { port } = listener
    return (await exchange({ port, ca: site.ca.certificatePem, cert, key }, get)).text
  }
  t.match(await ask(old), /in$/)
  const failed = listener.nextFailure()
  await ask(next)
  t.equal(await failed, 'bad_signature')
})
