// Certificates that last for minutes, as those of step-ca and SPIFFE do, renewed while engines pull.
// `node test/e2e/short-lived.ts --minutes 60 --lifetime 300` does an hour of it and says what came of it.
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:https'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'node:tls'
import { parseArgs } from 'node:util'
import type { Test } from 'tap'
import { startRegistry } from '../../src/demo/registry.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf } from '../../src/oci/digest.ts'
import { makeCertificate, type TestCertificateOptions } from '../helpers/certificates.ts'
import { startContainerd } from './lab/containerd.ts'
import { makeFolder } from './lab/folder.ts'
import { startGateway, upstreamName, type Gateway } from './lab/gateway.ts'
import type { Outcome } from './lab/program.ts'
import { withScope } from './lab/scope.ts'
import { makeSkopeo } from './lab/skopeo.ts'

export interface ShortLived {
  /** How long it goes on. */
  seconds: number
  /** How long a certificate lasts, in seconds; it is renewed after two thirds of that. */
  lifetime: number
}

export interface ShortLivedOutcome {
  renewals: number
  /** By client: what it got. */
  pulls: Record<string, number>
  failures: string[]
}

type Bench = Pick<Test, 'teardown'>

interface Pair {
  cert: string
  key: string
  renew: () => Promise<void>
}

interface Site {
  gateway: Gateway
  /** A folder as skopeo wants it. */
  folder: string
  ca: string
  client: Pair
  server: Pair
  /** The digest of what is pulled. */
  digest: string
}

const pause = 500
const repository = 'sample/app'

/** Pulls by containerd, skopeo and a client that keeps its connection, each until one has failed. */
export async function pullWithShortLived(
  t: Bench,
  { seconds, lifetime }: ShortLived,
): Promise<ShortLivedOutcome> {
  const site = await startSite(t, lifetime)
  const end = Date.now() + seconds * 1000
  const outcome: ShortLivedOutcome = { renewals: 0, pulls: {}, failures: [] }
  const goesOn = () => Date.now() < end && outcome.failures.length === 0

  async function repeat(name: string, pull: () => Promise<string | undefined>): Promise<void> {
    while (goesOn()) {
      const failure = await pull()
      if (failure === undefined) outcome.pulls[name] = (outcome.pulls[name] ?? 0) + 1
      else outcome.failures.push(`${new Date().toISOString()} ${name}: ${failure}`)
      await delay(pause)
    }
  }

  async function renew(): Promise<void> {
    let due = Date.now() + (lifetime * 1000 * 2) / 3
    while (goesOn()) {
      await delay(pause)
      if (Date.now() < due) continue
      due = Date.now() + (lifetime * 1000 * 2) / 3
      await site.client.renew()
      await site.server.renew()
      outcome.renewals += 1
    }
  }

  const engine = await startEngine(t, site)
  const engines = [repeat('containerd', engine)]
  const programs = process.env['CONTAINERD_2']
  if (programs !== undefined) {
    engines.push(repeat('containerd 2', await startEngine(t, site, programs)))
  }
  const keeping = keepConnection(t, site)
  await Promise.all([
    renew(),
    ...engines,
    repeat('skopeo', startSkopeo(t, site)),
    repeat('one connection', keeping),
  ])
  // Go's client drops connections that it has begun when another one is free first.
  const refused = site.gateway
    .log()
    .filter(({ msg, reason }) => msg === 'TLS handshake failed' && reason !== 'closed_by_client')
  outcome.failures.push(...refused.map((line) => JSON.stringify(line)))
  return outcome
}

/** A root, an issuing authority that clients send with their certificates, and a gateway. */
async function startSite(t: Bench, lifetime: number): Promise<Site> {
  const root = await makeCertificate({ subject: 'CN=Edge Root', ca: true })
  const issuer = await makeCertificate({ subject: 'CN=Edge Issuing', ca: true, issuer: root })
  const folder = makeFolder(t)
  const ca = join(folder, 'ca.crt')
  writeFileSync(ca, root.certificatePem)

  async function makePair(
    [cert, key]: readonly [string, string],
    options: TestCertificateOptions,
  ): Promise<Pair> {
    const dated = () => ({
      ...options,
      issuer,
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + lifetime * 1000),
    })
    const first = await makeCertificate(dated())
    const write = (leaf: string) => {
      writeFileSync(`${cert}.new`, leaf + issuer.certificatePem)
      renameSync(`${cert}.new`, cert)
    }
    write(first.certificatePem)
    writeFileSync(key, first.keyPem, { mode: 0o600 })
    // The key stays, as `step ca renew` leaves it: the two files fit at every moment.
    const renew = async () =>
      write((await makeCertificate({ ...dated(), keys: first.keys })).certificatePem)
    return { cert, key, renew }
  }

  const server = await makePair([join(folder, 'gateway.crt'), join(folder, 'gateway.pem')], {
    subject: 'CN=gateway',
    purposes: ['server'],
    ipAddresses: ['127.0.0.1'],
  })
  const shown = join(folder, 'client')
  mkdirSync(shown)
  writeFileSync(join(shown, 'ca.crt'), root.certificatePem)
  const client = await makePair([join(shown, 'client.cert'), join(shown, 'client.key')], {
    subject: 'CN=edge-1',
    purposes: ['client'],
  })
  const image = await buildSampleImage({ layerBytes: 2 ** 20 })
  const upstream = await startRegistry({ repositories: { [repository]: image } })
  t.teardown(() => upstream.close())
  const tls = { cert: server.cert, key: server.key, clientAuth: 'required', clientCa: [ca] }
  const gateway = await startGateway(t, {
    listen: { host: '127.0.0.1', port: 0, tls },
    admin: { port: 0 },
    upstreams: { [upstreamName]: { url: upstream.url } },
  })
  return { gateway, folder: shown, ca, client, server, digest: image.tags.get('1.0') ?? '' }
}

async function startEngine(t: Bench, { gateway, ca, client }: Site, programs?: string) {
  const { ctr, pull } = await startContainerd(t, programs === undefined ? {} : { programs })
  const image = `${upstreamName}/${repository}:1.0`
  return async () => {
    const pulled = await pull(image, { url: `https://${gateway.address}`, ca, client })
    // Its content goes with it, so that the next pull asks for everything.
    await ctr('images', 'rm', '--sync', image)
    return failureOf(pulled)
  }
}

function startSkopeo(t: Bench, { gateway, folder }: Site) {
  const skopeo = makeSkopeo(t)
  const image = `docker://${gateway.address}/${upstreamName}/${repository}:1.0`
  const to = makeFolder(t)
  return async () =>
    failureOf(await skopeo('copy', '--all', '--src-cert-dir', folder, image, `dir:${to}`))
}

/** Asks over one connection for as long as the gateway keeps it, and then again, as Go's client does. */
function keepConnection(t: Bench, { gateway, ca, client, digest }: Site) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const { port } = gateway
  agent.createConnection = () => connect({ host: '127.0.0.1', port, ...filesOf(ca, client) })
  const path = `/v2/${upstreamName}/${repository}/manifests/1.0`

  function ask(): Promise<string | undefined> {
    const { promise, resolve } = Promise.withResolvers<string | undefined>()
    const asked = request({ agent, host: '127.0.0.1', port, path }, (response) => {
      buffer(response).then(
        (body) => resolve(digestOf(body) === digest ? undefined : `${response.statusCode}`),
        (error: unknown) => resolve(String(error)),
      )
    })
    asked.on('error', (error) => resolve(asked.reusedSocket ? ask() : String(error))).end()
    return promise
  }
  return ask
}

function filesOf(ca: string, { cert, key }: Pair) {
  return { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) }
}

function failureOf({ code, stderr }: Outcome): string | undefined {
  return code === 0 ? undefined : stderr
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '60' },
      lifetime: { type: 'string', default: '300' },
    },
  })
  const options = { seconds: Number(values.minutes) * 60, lifetime: Number(values.lifetime) }
  const outcome = await withScope(async (scope) => pullWithShortLived(scope, options))
  process.stdout.write(`${JSON.stringify(outcome, null, 2)}\n`)
  process.exitCode = outcome.failures.length === 0 ? 0 : 1
}

if (import.meta.main) await main()
