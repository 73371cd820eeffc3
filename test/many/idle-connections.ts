// Ten thousand clients that are connected and silent, while another one pulls.
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { connect, type TLSSocket } from 'node:tls'
import { setTimeout as delay } from 'node:timers/promises'
import { testPki } from '../helpers/tls.ts'
import { startSoakSite, type SoakSite } from '../soak/site.ts'
import {
  descriptorsMore,
  descriptorsOf,
  growthOf,
  heldBy,
  inspected,
  type Scenario,
} from './figure.ts'

const connections = 10_000
const atOnce = 20
const samples = 400
/** The gateway ends what says nothing for a minute: each asks for something this often, ms. */
const breath = 30_000

/** Latency of a warm manifest, memory for each connection, and what is left of them. */
export const idleConnections: Scenario = async (t, scale) => {
  const count = Math.round(connections * scale)
  const site = await startSoakSite(t, {
    by: inspected,
    listen: { limits: { connectionsPerIdentity: 20_000 } },
  })
  const before = { ms: await latencies(site), held: await heldBy(site), open: descriptorsOf(site) }
  const resident = site.gateway.memory()
  const idle = await openIdle(site, count)
  const during = await latencies(site)
  const perConnection = (site.gateway.memory() - resident) / count / 1024
  const stillThere = idle.filter(({ destroyed }) => !destroyed).length
  for (const socket of idle) socket.destroy()
  const left = await descriptorsMore(site, before.open, 2)
  return [
    { what: 'silent connections', value: stillThere, unit: `of ${count}` },
    { what: 'of them lost', value: count - stillThere, unit: '', limit: 0 },
    {
      what: 'median latency',
      value: median(during) / median(before.ms),
      unit: 'of before',
      limit: 1.5,
    },
    { what: 'memory of each', value: perConnection, unit: 'KiB', limit: 128 },
    { what: 'descriptors left', value: left, unit: '', limit: 2 },
    { what: 'memory left', value: await growthOf(site, before.held), unit: 'MiB', limit: 16 },
  ]
}

async function openIdle(site: SoakSite, count: number): Promise<TLSSocket[]> {
  const { ca, client } = await testPki()
  const sockets: TLSSocket[] = []
  const open = async (at: number): Promise<void> => {
    const { port } = site.gateway
    const localAddress = `127.0.0.${2 + (at % 249)}`
    const socket = connect({
      socket: connectTcp({ host: '127.0.0.1', port, localAddress }),
      servername: 'localhost',
      ca: ca.certificatePem,
      cert: client.certificatePem,
      key: client.keyPem,
    })
    socket.on('error', () => socket.destroy()).resume()
    await once(socket, 'secureConnect')
    const ask = () => socket.write('GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n')
    ask()
    const timer = setInterval(ask, breath)
    socket.once('close', () => clearInterval(timer))
    sockets.push(socket)
  }
  for (let at = 0; at < count; at += atOnce) {
    const some = Array.from({ length: Math.min(atOnce, count - at) }, async (_, more) =>
      open(at + more),
    )
    await Promise.allSettled(some)
  }
  return sockets
}

/** Of a manifest in memory, one after the other over one connection; ms. */
async function latencies({ connect: connectAgent, open, image }: SoakSite): Promise<number[]> {
  const agent = connectAgent()
  const [digest] = image.manifests.keys()
  const found: number[] = []
  for (let at = 0; at < samples; at += 1) {
    const started = performance.now()
    const response = await open(agent, `/v2/app/manifests/${digest}`)
    await response.toArray()
    if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`)
    found.push(performance.now() - started)
    await delay(5)
  }
  agent.destroy()
  return found.slice(samples / 4)
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}
