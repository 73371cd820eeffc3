// Certificates as the readiness check sees them, today and later.
import { unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { createCertificateCheck } from '../../src/admin/certificates.ts'
import type { ListenerTlsConfig } from '../../src/config/schema.ts'
import { makeCertificate } from '../helpers/certificates.ts'
import { makeCrl } from '../helpers/crl.ts'
import { exhaustDescriptors } from '../helpers/limits.ts'
import { makeSite, noTls } from '../helpers/listener.ts'

const day = 86_400_000
const hour = 3_600_000

const certificateProblems = createCertificateCheck()

async function allProblems(tls: ListenerTlsConfig, at: string, now?: number): Promise<string[]> {
  const { fatal, partial } = await certificateProblems(tls, at, now)
  return [...fatal, ...partial]
}

t.test('dates of the server certificate and of the authorities', async (t) => {
  const { tls, folder, ca } = await makeSite(t, { clientAuth: 'required' })
  const at = (now: number) => allProblems(tls, 'listen.tls', now)
  t.same(await at(Date.now()), [])
  t.match(await at(Date.now() + 2 * day), [
    /^listen\.tls\.cert: expired on /,
    /^listen\.tls\.clientCa\.0: expired on /,
  ])
  t.match(await at(Date.now() - 2 * day), [
    /cert: is not valid before/,
    /clientCa\.0: is not valid/,
  ])
  const later = await makeCertificate({
    subject: 'CN=Next CA',
    ca: true,
    notAfter: new Date(Date.now() + 3 * day),
  })
  writeFileSync(join(folder, 'ca.crt'), ca.certificatePem + later.certificatePem)
  t.match(await at(Date.now() + 2 * day), [/^listen\.tls\.cert: expired/])
})

t.test('files that are gone or damaged', async (t) => {
  const { tls, folder } = await makeSite(t, { clientAuth: 'required' })
  writeFileSync(join(folder, 'server.crt'), 'garbage')
  unlinkSync(join(folder, 'ca.crt'))
  t.match(await allProblems(tls, 'listen.tls'), [
    /cert: cannot be used: has no PEM certificate/,
    /clientCa\.0: cannot be used: ENOENT/,
  ])
  const without = { ...tls, clientAuth: 'none' as const }
  t.equal((await allProblems(without, 'listen.tls')).length, 1, 'an unused CA is not read')
})

t.test('without TLS nothing can expire', async (t) => {
  t.same(await allProblems(noTls, 'admin.tls'), [])
})

t.test('revocation lists: outdated, stale but allowed, replaced by a newer one', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const file = join(site.folder, 'ca.crl')
  const nextUpdate = new Date(Date.now() + hour)
  const old = await makeCrl({ issuer: site.ca, nextUpdate })
  writeFileSync(file, old.pem)
  const tls = { ...site.tls, crl: [file] }
  const later = Date.now() + 2 * hour
  t.same(await allProblems(tls, 'listen.tls'), [])
  t.match(await allProblems(tls, 'listen.tls', later), [
    /^listen\.tls\.crl\.0: the list of CN=Test CA is outdated since /,
  ])
  t.same(await allProblems({ ...tls, crlMaxStale: 2 * hour }, 'listen.tls', later), [])
  const thisUpdate = new Date()
  const next = await makeCrl({ issuer: site.ca, thisUpdate, nextUpdate: new Date(later + hour) })
  writeFileSync(file, next.pem + old.pem)
  t.same(await allProblems(tls, 'listen.tls', later), [])
  writeFileSync(file, 'garbage')
  t.match(await allProblems(tls, 'listen.tls'), [/crl\.0: cannot be used: has no revocation/])
})

t.test('one authority that is right is enough to serve somebody', async (t) => {
  const site = await makeSite(t, { clientAuth: 'required' })
  const notAfter = new Date(Date.now() - hour)
  const expired = await makeCertificate({ subject: 'CN=Old CA', ca: true, notAfter })
  const file = join(site.folder, 'old-ca.crt')
  writeFileSync(file, expired.certificatePem)
  const both = { ...site.tls, clientCa: [file, ...site.tls.clientCa] }
  t.match(await certificateProblems(both, 'listen.tls'), {
    fatal: [],
    partial: [/^listen\.tls\.clientCa\.0: expired/],
  })
  const alone = { ...site.tls, clientCa: [file] }
  t.match(await certificateProblems(alone, 'listen.tls'), { fatal: [/clientCa\.0/], partial: [] })
  t.match(
    await certificateProblems({ ...alone, clientAuth: 'optional' }, 'listen.tls'),
    { fatal: [], partial: [/clientCa\.0/] },
    'who has no certificate is served',
  )
})

t.test('a list is read once, until its file changes', async (t) => {
  let turns = 0
  const check = createCertificateCheck(async () => void (turns += 1))
  const site = await makeSite(t, { clientAuth: 'required' })
  const file = join(site.folder, 'ca.crl')
  const tls = { ...site.tls, crl: [file] }
  const problemsAt = async (now: number) => (await check(tls, 'listen.tls', now)).fatal
  const turnsOf = async (now = Date.now()) => {
    turns = 0
    await problemsAt(now)
    return turns
  }
  const soon = new Date(Date.now() + hour)
  writeFileSync(file, (await makeCrl({ issuer: site.ca, nextUpdate: soon })).pem)
  t.ok((await turnsOf()) > 0, 'in steps')
  // What has just been written may be written again within the same tick of the clock.
  while ((await turnsOf()) > 0) await delay(20)
  t.match(
    await problemsAt(Date.now() + 2 * hour),
    [/crl\.0: .* is outdated/],
    'judged by the clock',
  )
  t.equal(turns, 0)

  const later = new Date(Date.now() + 3 * hour)
  writeFileSync(file, (await makeCrl({ issuer: site.ca, nextUpdate: later })).pem)
  t.same(await problemsAt(Date.now() + 2 * hour), [], 'the next list')
})

t.test('a file that could not be read is read again, though it has not changed', async (t) => {
  const check = createCertificateCheck()
  const { tls } = await makeSite(t, { clientAuth: 'required' })
  // Later than the tick within which nothing is remembered.
  await delay(200)
  const giveBack = exhaustDescriptors()
  const without = await check(tls, 'listen.tls').finally(giveBack)
  t.match(without.fatal, [/cert: cannot be used: EMFILE/, /clientCa\.0: cannot be used: EMFILE/])
  t.same((await check(tls, 'listen.tls')).fatal, [])
})
