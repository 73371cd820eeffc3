// What the status page says is wrong, and in which order.
import t from 'tap'
import { concernsOf } from '../../../src/admin/page/concerns.js'

const now = Date.UTC(2026, 10, 26, 12)
const at = (ms: number) => new Date(now + ms).toISOString()
const minute = 60_000
const day = 86_400_000

const endpoint = { url: 'https://registry.test', gateway: false, mode: 'one-way' }
const upstream = {
  name: 'registry.test',
  offline: false,
  isQuotaShort: false,
  circuit: { state: 'closed' as const },
  inUse: endpoint.url,
  endpoints: [endpoint],
  certificates: [],
}
const certificate = {
  kind: 'certificate' as const,
  use: 'listen.tls.cert',
  file: '/etc/server.crt',
  name: 'CN=edge',
}

t.test('nothing is wrong', async (t) => {
  t.same(concernsOf({}, now), [])
  const health = { ok: true, problems: [], warnings: [] }
  t.same(concernsOf({ health, upstreams: [upstream], certificates: [] }, now), [])
})

t.test('what clients notice comes first, each with what to do', async (t) => {
  const concerns = concernsOf(
    {
      health: { ok: false, problems: ['the gateway is ending'], warnings: ['the disk is full'] },
      upstreams: [
        {
          ...upstream,
          isQuotaShort: true,
          circuit: { state: 'open', since: at(-3 * minute) },
          endpoints: [
            {
              ...endpoint,
              mode: 'insecure',
              lastFailure: { at: at(0), reason: 'refused', message: 'check upstreams.x.url' },
            },
          ],
        },
      ],
      certificates: [
        { ...certificate, expires: at(5 * day), daysLeft: 5, isDue: true },
        { ...certificate, kind: 'crl', expires: at(-day), daysLeft: -1, isDue: true },
        { ...certificate, expires: at(90 * day), daysLeft: 90, isDue: false },
      ],
      shelf: { missing: 1, images: [{ image: 'registry.test/app:1', isMissing: true }] },
      reloads: [
        { at: at(-minute), part: 'config', result: 'refused', problems: ['listen: is wrong'] },
        { at: at(-2 * minute), part: 'config', result: 'ok', problems: [] },
        { at: at(-minute), part: 'admin', result: 'ok', problems: [] },
        { at: at(-2 * minute), part: 'admin', result: 'refused', problems: ['mended since'] },
      ],
    },
    now,
  )
  t.same(
    concerns.map(({ level, title }) => `${level} ${title}`),
    [
      'bad Pulls cannot be served: the gateway is ending',
      'bad registry.test cannot be asked, for 3 minutes',
      'bad The revocation list of CN=edge: outdated 1 day ago',
      'warn Few pulls are left at registry.test',
      'warn The certificate of registry.test is not checked',
      'warn The certificate CN=edge: 5 days left',
      'warn registry.test/app:1 is missing on the shelf',
      'warn The last reload was refused, 1 minute ago: what was in use before stays in use',
      'warn The disk is full',
    ],
  )
  t.match(concerns[1]?.advice, /^Check upstreams\.x\.url\. .*portcullis doctor registry\.test/)
  t.match(concerns[5]?.advice, 'Renew /etc/server.crt (listen.tls.cert)')
  t.equal(concerns[7]?.advice, 'Listen: is wrong')
})

t.test('an upstream that is offline, or asked elsewhere', async (t) => {
  const circuit = { state: 'open' as const }
  t.same(concernsOf({ upstreams: [{ ...upstream, offline: true, circuit }] }, now), [])
  const failed = { state: 'half-open' as const, since: at(-10 * minute) }
  t.match(concernsOf({ upstreams: [{ ...upstream, circuit: failed }] }, now), [
    { level: 'warn', title: 'registry.test failed 10 minutes ago, and has not answered since' },
  ])
  const other = { ...endpoint, url: 'https://other.test' }
  const resting = { ...endpoint, restsUntil: at(minute) }
  t.match(
    concernsOf({ upstreams: [{ ...upstream, inUse: other.url, endpoints: [resting, other] }] }),
    [{ title: 'registry.test is asked at https://other.test, in place of https://registry.test' }],
  )
  const both = [resting, { ...other, restsUntil: at(minute) }]
  t.same(concernsOf({ upstreams: [{ ...upstream, endpoints: both }] }), [], 'in its own place')
  t.same(concernsOf({ upstreams: [{ ...upstream, endpoints: [endpoint, ...both.slice(1)] }] }), [])
})

t.test('an end is told once', async (t) => {
  const use = 'upstreams.registry.test.tls.cert'
  const warnings = [`${use}: expired on 2026-01-01T00:00:00.000Z`]
  const certificates = [{ ...certificate, use, expires: at(-day), daysLeft: -1, isDue: true }]
  const health = { ok: true, problems: [], warnings }
  t.equal(concernsOf({ health, certificates }, now).length, 1)
})
