// `portcullis doctor` against real nginx in front of a real registry: the four modes, and the causes.
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Diagnosis } from '../../src/upstream/doctor/diagnosis.ts'
import { failureIn, modesIn } from '../helpers/diagnosis.ts'
import { optionsFor } from '../requirements.ts'
import { expired, here, type Pair } from './lab/certificates.ts'
import { subfolder } from './lab/folder.ts'
import { configFor, upstreamFor, writeConfig, type Section } from './lab/gateway.ts'
import { repository, startLab, type Lab } from './lab/lab.ts'
import { startNginx } from './lab/nginx.ts'
import { run } from './lab/program.ts'

const main = join(import.meta.dirname, '../../src/main.ts')

interface Case {
  upstream: Section
  /** By mode, as `modesIn` has them, in the order one-way insecure, one-way secure, two-way ... */
  modes: string[]
  failure?: { step: string; reason: string; message: string | RegExp }
}

t.test('doctor', optionsFor('doctor'), async (t) => {
  const lab = await startLab(t, { layerBytes: 1000 })
  const cases = await makeCases(t, lab)
  const upstreams = Object.fromEntries(
    Object.entries(cases).map(([name, { upstream }]) => [name, upstream]),
  )
  const file = writeConfig(t, { ...configFor(lab), upstreams })
  const args = [main, 'doctor', '--config', file]
  const { code, stdout, stderr } = await run(process.execPath, [...args, '--json'])
  t.equal(stderr, '')
  t.equal(code, 1, 'not all of them work')
  const told = JSON.parse(stdout) as { upstreams: Diagnosis[] }

  for (const [name, { modes, failure }] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const diagnosis = told.upstreams.find(({ upstream }) => upstream === name)
      t.ok(diagnosis)
      if (diagnosis === undefined) return
      t.same(Object.values(modesIn(diagnosis)), modes)
      t.match(failureIn(diagnosis), failure)
      if (failure !== undefined) return
      t.match(diagnosis.steps.slice(-5), [
        { step: 'manifest', outcome: 'ok', detail: `${repository}:` },
        { step: 'range', outcome: 'ok' },
        { step: 'head' },
        { step: 'tags' },
        { step: 'referrers' },
      ])
      t.match(diagnosis.certificates[0], { subject: 'CN=nginx', daysLeft: Number })
    })
  }

  const right = await run(process.execPath, [...args, 'two-way.test'])
  t.match(right, { code: 0, stdout: /^As configured, it works\.$/m })
})

/** Each upstream is the lab's registry, behind an nginx that is right or wrong in one thing. */
async function makeCases(t: Pick<Test, 'teardown'>, lab: Lab): Promise<Record<string, Case>> {
  const { certificates, nginx } = lab
  const { ca, gatewayClient } = certificates
  const start = (name: string, server: Pair, verifyClient: 'on' | 'off' = 'on') =>
    startNginx(t, {
      folder: subfolder(lab.folder, `nginx-${name}`),
      registry: lab.registry.address,
      server,
      clientCa: ca.upstream,
      client: gatewayClient,
      verifyClient,
    })
  const oneWay = await start('one-way', certificates.nginx, 'off')
  const server = { profile: 'server', ...here } as const
  const strange = await start(
    'strange',
    await certificates.issue('strange', 'stranger', { ...server, commonName: 'nginx' }),
    'off',
  )
  const outdated = await start(
    'outdated',
    await certificates.issue('outdated', 'upstream', { ...server, ...expired }),
  )
  const gone = await start('gone', certificates.nginx)
  await gone.stop()
  const withClient = { ca: ca.upstream, ...gatewayClient }
  const required = 'client_certificate_required'
  const refused = 'client_certificate_refused'

  return {
    'one-way.test': {
      upstream: { url: oneWay.url, tls: withClient },
      modes: ['works', 'works', 'works', 'works'],
    },
    'two-way.test': {
      upstream: upstreamFor(lab),
      modes: [required, required, 'works', 'works'],
    },
    'insecure.test': {
      upstream: { url: strange.url, tls: { verify: false } },
      modes: ['works', 'unknown_ca', 'untried', 'untried'],
    },
    'wrong-ca.test': {
      upstream: { url: strange.url, tls: withClient },
      modes: ['works', 'unknown_ca', 'works', 'unknown_ca'],
      failure: { step: 'tls', reason: 'unknown_ca', message: 'upstreams.wrong-ca.test.tls.ca' },
    },
    'wrong-name.test': {
      upstream: { url: nginx.url.replace('127.0.0.1', '127.0.0.2'), tls: withClient },
      modes: [required, 'wrong_name', 'works', 'wrong_name'],
      failure: { step: 'tls', reason: 'wrong_name', message: 'wrong-name.test.tls.serverName' },
    },
    'expired.test': {
      upstream: { url: outdated.url, tls: withClient },
      modes: [required, 'expired', 'works', 'expired'],
      failure: { step: 'tls', reason: 'expired', message: 'it must be renewed there' },
    },
    'no-certificate.test': {
      upstream: { url: nginx.url, tls: { ca: ca.upstream } },
      modes: [required, required, 'untried', 'untried'],
      failure: { step: 'http', reason: required, message: 'no-certificate.test.tls.cert' },
    },
    'wrong-certificate.test': {
      upstream: upstreamFor(lab, { ...(await certificates.issue('intruder', 'stranger', {})) }),
      modes: [required, required, refused, refused],
      failure: { step: 'http', reason: refused, message: 'wrong-certificate.test.tls.cert' },
    },
    'gone.test': {
      upstream: { url: gone.url, tls: withClient },
      modes: [],
      failure: { step: 'tcp', reason: 'refused', message: 'check upstreams.gone.test.url' },
    },
    'no-registry.test': {
      upstream: { url: `${oneWay.url}/elsewhere`, tls: withClient },
      modes: Array.from({ length: 4 }, () => 'bad_response'),
      failure: { step: 'http', reason: 'bad_response', message: 'no-registry.test.url' },
    },
  }
}
