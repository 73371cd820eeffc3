// What came of the pulls: looked up in the store, and at a replica that has nothing else.
import { rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { contentKey, quarantineKey } from '../../../src/cache/shared/layout.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'
import type { TestObjectStore } from '../../helpers/object-store.ts'
import { createPuller, createTally, type Tally } from './puller.ts'
import { startNewcomer, type Bench, type Image, type Region, type Replica } from './region.ts'

export interface StoreOutcome {
  /** Not there, or not right. */
  missing: Digest[]
  /** One object was damaged: a replica with an emptied disk set it aside, and it is right again. */
  isMended: boolean
  /** Of a replica with an empty disk and without an upstream. */
  newcomer: Tally
}

/** How long replicas may take to write what is left, ms. */
const patience = 120_000

/** At the end: when all is there, one object is damaged, and asked for by a replica with an emptied disk. */
export async function lookAtStore(
  t: Bench,
  region: Region,
  tally: Tally,
): Promise<StoreOutcome | undefined> {
  const { store, digests, images, lab, replicas } = region
  if (store === undefined) return undefined
  // Content is written before what names it.
  await within(async () => {
    const left = await Promise.all(replicas.map(waitingFor))
    return left.every((count) => count === 0)
  })
  const missing: Digest[] = []
  for (const digest of digests) if (!(await isRight(store, digest))) missing.push(digest)
  const isMended = await mendsDamage(region, store, tally)
  const newcomer = createTally()
  const { port } = await startNewcomer(t, region)
  const puller = createPuller(lab, port, newcomer)
  for (const { repository } of images) await puller.pull(repository)
  puller.close()
  return { missing, isMended, newcomer }
}

async function mendsDamage(
  { lab, images, replicas }: Region,
  store: TestObjectStore,
  tally: Tally,
): Promise<boolean> {
  const [[image], [replica]] = [images, replicas]
  if (image === undefined || replica === undefined) return false
  const digest = largestOf(image)
  const bytes = Buffer.from(image.content.blobs.get(digest) ?? '')
  const at = bytes.length >> 1
  bytes[at] = (bytes[at] ?? 0) ^ 1
  await store.objects.write(contentKey(digest), bytes)
  await replica.gateway.program.stop('SIGKILL')
  rmSync(replica.dir, { recursive: true })
  await replica.start()
  const puller = createPuller(lab, replica.gateway.port, tally)
  await puller.pull(image.repository)
  puller.close()
  return within(async () => (await isSetAside(store, digest)) && isRight(store, digest))
}

/** How many objects a replica has still to write. */
async function waitingFor({ gateway }: Replica): Promise<number> {
  const { adminPort } = await gateway.logged('it serves', ({ msg }) => msg === 'listening')
  const metrics = await (await fetch(`http://127.0.0.1:${String(adminPort)}/metrics`)).text()
  return Number(/^portcullis_shared_waiting_objects (\d+)$/m.exec(metrics)?.[1])
}

/** Whether it comes true while replicas may still be writing. */
async function within(condition: () => boolean | Promise<boolean>): Promise<boolean> {
  const end = Date.now() + patience
  while (!(await condition())) {
    if (Date.now() > end) return false
    await delay(500)
  }
  return true
}

function largestOf({ content }: Image): Digest {
  const [largest] = [...content.blobs].sort(([, one], [, other]) => other.length - one.length)
  if (largest === undefined) throw new Error('the image has no blobs')
  return largest[0]
}

async function isRight({ objects }: TestObjectStore, digest: Digest): Promise<boolean> {
  const bytes = await objects.read(contentKey(digest))
  return bytes !== undefined && digestOf(bytes) === digest
}

async function isSetAside({ objects }: TestObjectStore, digest: Digest): Promise<boolean> {
  const [start = ''] = quarantineKey(digest, 0).split(/0$/)
  return (await objects.keys(start)).length > 0
}
