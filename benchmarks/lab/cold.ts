// Content that nobody holds yet but the origin: fresh for every round, because it is warm after one.
import { startGateway } from './gateway.ts'
import { addBlob, emptyContent } from './content.ts'
import { addBlobs, removeBlobs, startNginxCache, startOrigin, type Origin } from './nginx.ts'
import type { Scope } from './scope.ts'
import type { Server } from './server.ts'
import type { Site } from './site.ts'

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
  { folder }: Origin,
  count: number,
  size: number,
): (round: number) => readonly string[] {
  let content = emptyContent()
  let lines: string[] = []
  let current = -1
  return (round) => {
    if (round !== current) {
      removeBlobs(folder, content)
      content = emptyContent()
      lines = Array.from({ length: count }, () => addBlob(content, size))
      addBlobs(folder, content)
      current = round
    }
    return lines
  }
}
