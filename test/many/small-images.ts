// Ten thousand small images, one after the other.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { mediaTypes } from '../../src/oci/media-type.ts'
import { digestOf } from '../../src/oci/digest.ts'
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { startSoakSite } from '../soak/site.ts'
import {
  descriptorsMore,
  descriptorsOf,
  growthOf,
  heldBy,
  inspected,
  type Scenario,
} from './figure.ts'

const images = 10_000
/** The tier in memory may fill. */
const memoryLimit = 96
/** Bytes of the index for an image: three contents and links, a tag, two edges. */
const indexLimit = 4096
/** MiB that SQLite leaves in its log before they go into the index: a thousand pages and some. */
const logLimit = 8

/** Memory, descriptors, and what an image takes of the index and the journal. */
export const smallImages: Scenario = async (t, scale) => {
  const count = Math.round(images * scale)
  const site = await startSoakSite(t, { by: inspected })
  const paths = Array.from({ length: count }, (_, at) => addImage(site.image, at))
  const before = {
    held: await heldBy(site),
    open: descriptorsOf(site),
    index: sizeOf(join(site.dir, 'index.db')),
  }
  const started = performance.now()
  const agent = site.connect()
  let wrong = 0
  for (const path of paths.flat()) {
    const response = await site.open(agent, path)
    await response.toArray()
    if (response.statusCode !== 200) wrong += 1
  }
  agent.destroy()
  const seconds = (performance.now() - started) / 1000
  // What is learned is on the disk within a second.
  await delay(2000)
  const bytesOf = (name: string) => sizeOf(join(site.dir, name))
  const index = bytesOf('index.db') - before.index
  return [
    { what: `${count} images`, value: (seconds * 1000) / count, unit: 'ms each' },
    { what: 'not served', value: wrong, unit: '', limit: 0 },
    {
      what: 'memory left',
      value: await growthOf(site, before.held),
      unit: 'MiB',
      limit: memoryLimit,
    },
    {
      what: 'descriptors left',
      value: await descriptorsMore(site, before.open, 8),
      unit: '',
      limit: 8,
    },
    { what: 'index', value: index / count, unit: 'bytes an image', limit: indexLimit },
    {
      what: 'log of the index',
      value: bytesOf('index.db-wal') / 2 ** 20,
      unit: 'MiB',
      limit: logLimit,
    },
    {
      what: 'journal',
      value: bytesOf('journal') / count,
      unit: 'bytes an image',
      limit: indexLimit / 4,
    },
  ]
}

/** The paths that a client asks for: tag, config, layer. */
function addImage({ blobs, manifests, tags }: SampleContent, at: number): string[] {
  const add = (text: string, mediaType: string) => {
    const bytes = Buffer.from(text)
    const digest = digestOf(bytes)
    blobs.set(digest, bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const config = add(JSON.stringify({ image: at }), 'application/vnd.oci.image.config.v1+json')
  const layer = add(`layer ${at}`, 'application/vnd.oci.image.layer.v1.tar')
  const document = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] }
  const bytes = Buffer.from(JSON.stringify(document))
  const digest = digestOf(bytes)
  manifests.set(digest, { mediaType: mediaTypes.ociManifest, bytes })
  tags.set(`v${at}`, digest)
  return [
    `/v2/app/manifests/v${at}`,
    `/v2/app/blobs/${config.digest}`,
    `/v2/app/blobs/${layer.digest}`,
  ]
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}
