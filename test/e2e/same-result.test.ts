// What clients get from a registry directly, they get through the gateway: the same, digest by digest.
import t from 'tap'
import { optionsFor } from '../requirements.ts'
import { clients } from './same-result/clients.ts'
import { compare } from './same-result/comparison.ts'
import { siteKinds } from './same-result/sites.ts'

/** Nobody has to have what no package of Debian brings. */
const optional = new Set(['crane', 'regctl', 'oras', 'helm'])

t.setTimeout(9 * 60_000)

for (const { name: registry, start, missing } of siteKinds) {
  const options = missing === undefined ? optionsFor('same-result') : { skip: missing }
  t.test(registry, { ...options, timeout: 4 * 60_000 }, async (t) => {
    const site = await start(t)
    const { address, prefix, login } = site.direct
    const { status } = await fetch(`http://${address}/v2/${prefix}sample/app/tags/list`)
    t.equal(status, login === undefined ? 200 : 401, 'who has to log in')
    for (const client of clients) {
      const { name, program } = client
      const isMissing = program === undefined && optional.has(name)
      await t.test(name, isMissing ? { skip: `${name} not found` } : {}, async (t) => {
        const rows = await compare(t, site, client)
        for (const { what, direct, gateway } of rows) t.same(gateway, direct, what)
        const failed = rows.filter(({ direct }) => direct[0] === 'failed').map(({ what }) => what)
        t.same(
          failed.filter((what) => !what.includes('schema 1')),
          [],
          'what does not work directly either shows nothing',
        )
      })
    }
  })
}
