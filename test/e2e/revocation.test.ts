// A gateway whose certificate is replaced, and a client of it whose certificate is revoked, while
// several clients pull without a pause.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startRegistry } from '../../src/demo/registry.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { found } from '../../src/pki/init.ts'
import { issue, type Issuance } from '../../src/pki/issue.ts'
import { optionsFor } from '../requirements.ts'
import { makeFolder } from './lab/folder.ts'
import { startGateway, upstreamName } from './lab/gateway.ts'
import { succeed, until } from './lab/program.ts'
import { startPuller, type SteadyPuller } from './lab/steady-puller.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const clients = Array.from({ length: 8 }, (_, index) => `edge-${index + 1}`)
const swaps = 20
const image = await buildSampleImage({ layerBytes: 100_000 })

t.test('swaps and a revocation under load', optionsFor('revocation'), async (t) => {
  const { dir, at, gateway, pairs } = await startSite(t)
  const start = (name: string) =>
    startPuller({
      name,
      port: gateway.port,
      tls: {
        ca: readFileSync(at('ca.crt')),
        cert: readFileSync(at(`${name}.crt`)),
        key: readFileSync(at(`${name}.key`)),
      },
      path: `/v2/${upstreamName}/app`,
      image,
      renewEvery: 3,
    })
  const pullers = clients.map(start)
  t.teardown(() => Promise.all(pullers.map(({ stop }) => stop())))
  const failures = () => pullers.flatMap(({ name, failure }) => tell(name, failure()))
  await untilPulled(pullers, 1)

  let last = ''
  for (let swap = 1; swap <= swaps; swap += 1) {
    const pair = pairs[swap % pairs.length]
    if (pair?.keyPem === undefined) throw new Error('a pair is incomplete')
    await replace(at('live.crt'), pair.chainPem, swap)
    await replace(at('live.key'), pair.keyPem, swap)
    last = pair.entry.serial.toUpperCase()
  }
  await until('every client has seen the last certificate', () => {
    return failures().length > 0 || pullers.every(({ seen }) => seen() === last)
  })
  t.same(failures(), [], 'no handshake and no request failed')
  const handshakes = pullers.reduce((sum, puller) => sum + puller.handshakes(), 0)
  t.comment(`${swaps} swaps, ${handshakes} handshakes`)

  const [lost, ...others] = pullers
  if (lost === undefined) throw new Error('there are no clients')
  await succeed(process.execPath, [main, 'pki', 'revoke', lost.name, '--dir', dir])
  const revokedAt = performance.now()
  await until('the revoked client is refused', () => lost.failure() !== undefined)
  const took = performance.now() - revokedAt
  t.comment(`refused ${Math.round(took)} ms after the end of the command: ${lost.failure()}`)
  t.ok(took < 10_000, 'soon')
  const again = start(lost.name)
  await until('it is refused again', () => again.failure() !== undefined || again.rounds() > 0)
  await again.stop()
  t.match(again.failure(), /403|ECONNRESET|socket hang up/, 'a new connection changes nothing')
  await untilPulled(others, 10)
  t.same(
    others.flatMap(({ name, failure }) => tell(name, failure())),
    [],
    'the others never noticed',
  )
})

/** An authority, certificates for everybody, and a gateway that watches all of it. */
async function startSite(t: Test) {
  const dir = join(makeFolder(t), 'certs')
  const at = (file: string) => join(dir, file)
  await found({ dir }, { commonName: 'Edge CA', intermediate: false, algorithm: 'P-256' })
  const base = { algorithm: 'P-256', force: false } as const
  for (const name of clients) await issue({ dir }, { ...base, name, profile: 'client' })
  const pairs: Issuance[] = []
  for (const name of ['gateway-a', 'gateway-b', 'gateway-c']) {
    const server = { name, profile: 'server', ipAddresses: ['127.0.0.1'] } as const
    pairs.push(await issue({ dir }, { ...base, ...server }))
  }
  writeFileSync(at('live.crt'), pairs[0]?.chainPem ?? '')
  writeFileSync(at('live.key'), pairs[0]?.keyPem ?? '', { mode: 0o600 })
  const upstream = await startRegistry({ repositories: { app: image } })
  t.teardown(() => upstream.close())
  const gateway = await startGateway(t, {
    listen: {
      host: '127.0.0.1',
      port: 0,
      tls: {
        cert: at('live.crt'),
        key: at('live.key'),
        clientAuth: 'required',
        clientCa: [at('ca.crt')],
        crl: [at('ca.crl')],
      },
    },
    admin: { port: 0 },
    upstreams: { [upstreamName]: { url: upstream.url } },
  })
  return { dir, at, gateway, pairs }
}

/** In turns renamed over, written in place, and written in place in two pieces. */
async function replace(file: string, text: string, turn: number): Promise<void> {
  if (turn % 3 === 0) {
    writeFileSync(`${file}.new`, text, { mode: 0o600 })
    renameSync(`${file}.new`, file)
  } else {
    if (turn % 3 === 1) writeFileSync(file, text.slice(0, 300))
    await delay(turn % 5)
    writeFileSync(file, text)
  }
  // Sometimes long enough for the gateway to see half of a pair.
  await delay(turn % 4 === 0 ? 300 : 30)
}

/** Resolves when each has pulled `more` images, or one has failed. */
async function untilPulled(pullers: readonly SteadyPuller[], more: number): Promise<void> {
  const goals = pullers.map((puller) => ({ puller, goal: puller.rounds() + more }))
  await until(`every client has pulled ${more} more images`, () => {
    const failed = pullers.some(({ failure }) => failure() !== undefined)
    return failed || goals.every(({ puller, goal }) => puller.rounds() >= goal)
  })
}

function tell(name: string, failure: string | undefined): string[] {
  return failure === undefined ? [] : [`${name}: ${failure}`]
}
