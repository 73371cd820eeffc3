// A gateway with certificates of other authorities: pulls, renewal, revocation and a change of the
// authority, while eight clients pull without a failure. And what ours issues, read by zlint.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { startRegistry } from '../../src/demo/registry.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { found } from '../../src/pki/init.ts'
import { issue } from '../../src/pki/issue.ts'
import { keyAlgorithms } from '../../src/pki/key.ts'
import { optionsFor } from '../requirements.ts'
import {
  makeEasyRsaAuthority,
  makeOpensslAuthority,
  makeStepAuthority,
  type ForeignAuthority,
  type ForeignPair,
  type MakeAuthority,
} from './lab/authorities.ts'
import { makeFolder } from './lab/folder.ts'
import { startGateway, upstreamName } from './lab/gateway.ts'
import { run, succeed, until } from './lab/program.ts'
import { startPuller, type SteadyPuller } from './lab/steady-puller.ts'

t.setTimeout(9 * 60_000)

const clients = Array.from({ length: 8 }, (_, index) => `edge-${index + 1}`)
const image = await buildSampleImage({ layerBytes: 100_000 })

const kinds: Record<'openssl' | 'easy-rsa' | 'step-ca', MakeAuthority> = {
  openssl: makeOpensslAuthority,
  'easy-rsa': makeEasyRsaAuthority,
  'step-ca': makeStepAuthority,
}

for (const kind of ['openssl', 'easy-rsa', 'step-ca'] as const) {
  t.test(kind, { ...optionsFor(`authorities-${kind}`), timeout: 240_000 }, async (t) => {
    const folder = makeFolder(t)
    const old = await kinds[kind](t, join(folder, 'old'), 'Edge CA')
    const next = await kinds[kind](t, join(folder, 'next'), 'Next Edge CA')
    const { start, trust } = await startSite(t, folder, old)
    const pullers = new Map<string, SteadyPuller>()
    for (const name of clients) pullers.set(name, start(name, await old.issue(name, 'client')))
    await untilPulled(pullers, 1)

    // Renewal: the clients come back with their new certificates.
    const renewed = clients.slice(1, 3)
    for (const name of renewed) {
      const pair = await old.renew(name)
      await pullers.get(name)?.stop()
      t.equal(pullers.get(name)?.failure(), undefined, `${name} before its renewal`)
      pullers.set(name, start(name, pair))
    }
    await untilPulled(pullers, 2)
    t.same(failuresOf(pullers), [], 'nobody failed by a renewal')

    const [lost = ''] = clients
    await old.revoke(lost)
    await trust([old])
    await until('the revoked client is refused', () => pullers.get(lost)?.failure() !== undefined)
    pullers.delete(lost)
    await untilPulled(pullers, 3)
    t.same(failuresOf(pullers), [], 'nobody else is refused')

    // The authority goes over to the next: first both, then its clients, then the next alone.
    await trust([old, next])
    await untilPulled(pullers, 3)
    for (const [name, puller] of pullers) {
      const pair = await next.issue(name, 'client')
      await puller.stop()
      t.equal(puller.failure(), undefined, `${name} of the old authority`)
      pullers.set(name, start(name, pair))
    }
    await untilPulled(pullers, 2)
    const left = start('edge-9', await old.issue('edge-9', 'client'))
    await until('one is left behind', () => left.rounds() > 0 || left.failure() !== undefined)
    t.equal(left.failure(), undefined)
    await trust([next])
    await until('the old authority is of no use', () => left.failure() !== undefined)
    await untilPulled(pullers, 3)
    t.same(failuresOf(pullers), [], 'nobody failed by the change of the authority')
  })
}

t.test('zlint has nothing against what ours issues', optionsFor('zlint'), async (t) => {
  for (const algorithm of keyAlgorithms) {
    const dir = join(makeFolder(t), 'certs')
    const base = { algorithm, force: false } as const
    await found({ dir }, { commonName: 'Edge CA', intermediate: true, algorithm })
    const server = { ipAddresses: ['192.0.2.1'], dnsNames: ['gateway.local'] }
    await issue({ dir }, { ...base, ...server, name: 'gateway.local', profile: 'server' })
    await issue({ dir }, { ...base, name: 'edge-1', profile: 'client' })
    for (const name of ['ca', 'issuing', 'gateway.local', 'edge-1']) {
      const one = join(dir, 'one.pem')
      await succeed('openssl', ['x509', '-in', join(dir, `${name}.crt`), '-out', one])
      // The rules of RFCs: those of browsers' authorities ask for what a private one has not.
      const sources = 'RFC3279,RFC5280,RFC5480,RFC5891,RFC8813'
      const { stdout } = await run('zlint', ['-includeSources', sources, one])
      const results = Object.entries(JSON.parse(stdout) as Record<string, { result: string }>)
      t.ok(
        results.some(([, { result }]) => result === 'pass'),
        `${algorithm} ${name}`,
      )
      const bad = results.filter(([, { result }]) => ['error', 'fatal'].includes(result))
      t.same(bad, [], `${algorithm} ${name}`)
    }
  }
})

async function startSite(t: Test, folder: string, authority: ForeignAuthority) {
  const at = (file: string) => join(folder, file)
  const server = await authority.issue('gateway.local', 'server')
  writeFileSync(at('live.crt'), server.cert)
  writeFileSync(at('live.key'), server.key, { mode: 0o600 })
  /** Each file whole: lists and certificates are checked one against the other. */
  async function trust(authorities: readonly ForeignAuthority[]): Promise<void> {
    const lists = await Promise.all(authorities.map(async ({ list }) => pemOf(await list())))
    writeFileSync(at('clients.crt'), authorities.flatMap((one) => one.certificates).join(''))
    writeFileSync(at('clients.crl'), lists.join(''))
  }
  await trust([authority])
  const upstream = await startRegistry({ repositories: { app: image } })
  t.teardown(() => upstream.close())
  const tls = {
    cert: at('live.crt'),
    key: at('live.key'),
    clientAuth: 'required',
    clientCa: [at('clients.crt')],
    crl: [at('clients.crl')],
  }
  const gateway = await startGateway(t, {
    listen: { host: '127.0.0.1', port: 0, tls },
    admin: { port: 0 },
    upstreams: { [upstreamName]: { url: upstream.url } },
  })
  function start(name: string, pair: ForeignPair): SteadyPuller {
    const puller = startPuller({
      name,
      port: gateway.port,
      tls: { ca: authority.root, ...pair },
      path: `/v2/${upstreamName}/app`,
      image,
      renewEvery: 2,
    })
    t.teardown(() => puller.stop())
    return puller
  }
  return { start, trust }
}

function pemOf(list: Buffer): string {
  if (list.includes('-----BEGIN')) return list.toString()
  const lines = list.toString('base64').replaceAll(/.{64}/g, '$&\n')
  return `-----BEGIN X509 CRL-----\n${lines}\n-----END X509 CRL-----\n`
}

/** Resolves when each has pulled `more` images, or one has failed. */
async function untilPulled(pullers: Map<string, SteadyPuller>, more: number): Promise<void> {
  const goals = [...pullers.values()].map((puller) => ({ puller, goal: puller.rounds() + more }))
  await until(`every client has pulled ${more} more images`, () => {
    const failed = goals.some(({ puller }) => puller.failure() !== undefined)
    return failed || goals.every(({ puller, goal }) => puller.rounds() >= goal)
  })
}

function failuresOf(pullers: Map<string, SteadyPuller>): string[] {
  return [...pullers].flatMap(([name, puller]) => {
    const failure = puller.failure()
    return failure === undefined ? [] : [`${name}: ${failure}`]
  })
}
