// Content that nobody holds yet but the origin: fresh for every round, because it is warm after one.
import type { SampleContent } from '../../src/demo/sample-image.ts'
import { startGateway } from './gateway.ts'
import { addBlob, addColdImage, emptyContent, MiB } from './content.ts'
import { addFiles, startNginxCache, startOrigin, type Origin } from './nginx.ts'
import { touchPages } from './quiet.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'
import type { Server } from './server.ts'
import type { Site } from './site.ts'

/** More than what a round stores, at the origin and behind it. */
const touched = 512 * MiB

export interface Caches {
  origin: Origin
  gateway: Server
  nginx: Server
}

/** Starts an origin, and in front of it the gateway and nginx, with nothing in their caches. */
export async function startCaches(scope: Scope, site: Site): Promise<Caches> {
  const origin = await startOrigin(scope, { ...site, content: emptyContent() })
  const behind = { ...site, originPort: origin.port }
  const [gateway, nginx] = [await startGateway(scope, behind), await startNginxCache(scope, behind)]
  return { origin, gateway, nginx }
}

/** Lines for blobs that only the origin has, the same for every server in one round. */
export function createFreshBlobs(
  origin: Origin,
  count: number,
  size: number,
): (round: number) => readonly string[] {
  return createFresh(origin, count, (content) => addBlob(content, size))
}

/** The lines of pulls of images that only the origin has, the same for every server in one round. */
export function createFreshImages(
  origin: Origin,
  count: number,
  [layers, size]: readonly [number, number],
): (round: number) => readonly (readonly string[])[] {
  const sizes = Array.from({ length: layers }, () => size)
  return createFresh(origin, count, (content) => addColdImage(content, sizes))
}

/**
 * What is there stays until the end: for one to five minutes ext4 gives the inode of a removed file to no other, and
 * whoever makes files meanwhile goes through them all each time.
 */
function createFresh<T>({ folder }: Origin, count: number, add: (content: SampleContent) => T) {
  let made: readonly T[] = []
  let current = -1
  return (round: number): readonly T[] => {
    if (round !== current) {
      const content = emptyContent()
      made = Array.from({ length: count }, () => add(content))
      addFiles(folder, content)
      current = round
    }
    // For every server, not for the first of a round alone.
    touchPages(folder, touched)
    return made
  }
}
