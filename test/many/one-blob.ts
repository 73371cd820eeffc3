// Five hundred clients of one cold blob of 256 MiB.
import { createHash } from 'node:crypto'
import { startSoakSite } from '../soak/site.ts'
import {
  descriptorsMore,
  descriptorsOf,
  growthOf,
  heldBy,
  inspected,
  type Scenario,
} from './figure.ts'

const clients = 500
const mebibyte = 2 ** 20
/** As many are hashed; of the others the length is looked at. */
const hashed = 5
/** Beside what the gateway has anyway: what waits in five hundred sockets. */
const peakLimit = 512

/** One request upstream, memory at its peak and afterwards, descriptors. */
export const oneBlob: Scenario = async (t, scale) => {
  const size = Math.round(256 * scale) * mebibyte
  const count = Math.round(clients * Math.min(1, scale * 2))
  const site = await startSoakSite(t, { by: inspected })
  const digest = site.newBlob(size)
  const before = { held: await heldBy(site), open: descriptorsOf(site) }
  const resident = site.gateway.memory()
  const started = performance.now()
  const wrong = await Promise.all(
    Array.from({ length: count }, async (_, at) => {
      const agent = site.connect()
      const response = await site.open(agent, `/v2/app/blobs/${digest}`)
      const hash = at < hashed ? createHash('sha256') : undefined
      let bytes = 0
      for await (const chunk of response as AsyncIterable<Buffer>) {
        bytes += chunk.length
        hash?.update(chunk)
      }
      agent.destroy()
      const isRight = hash === undefined || `sha256:${hash.digest('hex')}` === digest
      return bytes === size && isRight ? 0 : 1
    }),
  )
  const seconds = (performance.now() - started) / 1000
  return [
    { what: `${count} clients of ${size / mebibyte} MiB`, value: seconds, unit: 's' },
    {
      what: 'wrong bodies',
      value: wrong.reduce((sum: number, one) => sum + one, 0),
      unit: '',
      limit: 0,
    },
    { what: 'requests upstream', value: site.upstream.count(/^GET .*blobs/), unit: '', limit: 1 },
    {
      what: 'memory at its peak',
      value: (site.gateway.peakMemory() - resident) / mebibyte,
      unit: 'MiB more',
      limit: peakLimit,
    },
    {
      what: 'descriptors left',
      value: await descriptorsMore(site, before.open, 3),
      unit: '',
      limit: 3,
    },
    { what: 'memory left', value: await growthOf(site, before.held), unit: 'MiB', limit: 16 },
  ]
}
