// Long revocation lists are read while others have their turns, and once for all who use them.
import { createPrivateKey } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { renewalOf } from '../../../src/listener/reload-tls.ts'
import { securedBy } from '../../../src/listener/server.ts'
import { createCrlFiles } from '../../../src/listener/trust/crl-files.ts'
import { makeSite, startListener, type Site } from '../../helpers/listener.ts'
import { der, rawCrl } from '../../helpers/raw-crl.ts'

const issuer = der.name(['550403', 0x0c, 'Test CA'])
const reason = der.extension(21, false, der.hex('0a0101'))
const many = 200_000
/** One for each 5000 entries that are looked at, and again for each 5000 that are sorted in. */
const fewestTurns = (2 * many) / 5000

function serialOf(index: number): string {
  return (0x10_00_00_00 + index).toString(16)
}

function pem(list: Buffer): string {
  const lines = list.toString('base64').replaceAll(/.{64}/g, '$&\n')
  return `-----BEGIN X509 CRL-----\n${lines}\n-----END X509 CRL-----\n`
}

function listOf(site: Site, count: number): Buffer {
  const serials = Array.from({ length: count }, (_, index) => serialOf(index))
  const key = createPrivateKey(site.ca.keyPem)
  return rawCrl({ issuer, key, serials, entryExtensions: [reason] })
}

for (const form of ['PEM', 'DER'] as const) {
  t.test(`a reload with ${many} entries is many short turns: ${form}`, async (t) => {
    const site = await makeSite(t, { clientAuth: 'required' })
    const file = join(site.folder, 'ca.crl')
    writeFileSync(file, listOf(site, 3))
    const tls = { ...site.tls, crl: [file] }
    const { server } = await startListener(t, { tls }, (_req, res) => void res.end())
    const list = listOf(site, many)
    writeFileSync(file, form === 'PEM' ? pem(list) : list)

    let turns = 0
    const files = createCrlFiles(async () => {
      turns += 1
      return setImmediate()
    })
    const renewal = await renewalOf(server)?.prepare(tls, files)
    renewal?.take()
    t.ok(turns >= fewestTurns, `${turns} turns`)
    const serials = securedBy(server)?.credentials.trust.authorities[0]?.revocation?.serials
    const listed = [0, 1, many / 2, many - 1].map((index) => serials?.has(serialOf(index)))
    t.same(listed, [true, true, true, true])
    t.equal(serials?.has(serialOf(many)), false)

    turns = 0
    await renewalOf(server)?.prepare(tls, files)
    t.ok(turns < fewestTurns / 2, `another listener only looks whether it is the same: ${turns}`)
  })
}

t.test('the same list is one object until its file changes', async (t) => {
  const site = await makeSite(t)
  const [one, two] = ['one.crl', 'two.crl'].map((name) => join(site.folder, name))
  if (one === undefined || two === undefined) throw new Error('there are two')
  writeFileSync(one, listOf(site, 1))
  writeFileSync(two, 'no list')
  const files = createCrlFiles()
  const first = await files.load([one, two])
  t.equal((await files.load([one]))(one)?.[0], first(one)?.[0])
  t.throws(() => first(two), /has no revocation list/)
  t.equal(first(join(site.folder, 'another')), undefined)

  writeFileSync(one, listOf(site, 2))
  writeFileSync(two, pem(listOf(site, 2)))
  const second = await files.load([one, two])
  t.equal(second(one)?.[0]?.serials().has(serialOf(1)), true)
  t.equal(first(one)?.[0]?.serials().has(serialOf(1)), false)
  t.equal(second(two)?.length, 1, 'what was wrong is read again once it is another')
  rmSync(one)
  t.equal((await files.load([one]))(one), undefined)
})
