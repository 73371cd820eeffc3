// Two hundred cold blobs at once.
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

const blobs = 200
const size = 2 ** 20
/** Idle files that stay open, and connections to the upstream. */
const kept = 128 + 128

/** Every body, one request upstream for each, descriptors and memory afterwards. */
export const coldBlobs: Scenario = async (t, scale) => {
  const count = Math.round(blobs * scale)
  const site = await startSoakSite(t, { by: inspected, kept: count })
  const digests = Array.from({ length: count }, () => site.newBlob(size))
  const before = { held: await heldBy(site), open: descriptorsOf(site) }
  const started = performance.now()
  const wrong = await Promise.all(
    digests.map(async (digest) => {
      const agent = site.connect()
      const response = await site.open(agent, `/v2/app/blobs/${digest}`)
      const hash = createHash('sha256')
      for await (const chunk of response as AsyncIterable<Buffer>) hash.update(chunk)
      agent.destroy()
      return `sha256:${hash.digest('hex')}` === digest ? 0 : 1
    }),
  )
  const seconds = (performance.now() - started) / 1000
  return [
    { what: `${count} blobs of 1 MiB`, value: seconds, unit: 's' },
    {
      what: 'wrong bodies',
      value: wrong.reduce((sum: number, one) => sum + one, 0),
      unit: '',
      limit: 0,
    },
    {
      what: 'requests upstream',
      value: site.upstream.count(/^GET .*blobs/),
      unit: '',
      limit: count,
    },
    {
      what: 'descriptors left',
      value: await descriptorsMore(site, before.open, kept),
      unit: '',
      limit: kept,
    },
    { what: 'memory left', value: await growthOf(site, before.held), unit: 'MiB', limit: 32 },
  ]
}
