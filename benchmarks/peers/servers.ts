// Those that would be used instead, each an empty pull-through cache behind mutual TLS.
import { join } from 'node:path'
import { makeBuild } from '../../test/helpers/build.ts'
import { subfolder } from '../../test/e2e/lab/folder.ts'
import { startGateway } from '../lab/gateway.ts'
import { startNginxCache, type Origin } from '../lab/nginx.ts'
import { startRegistryCache } from '../lab/registry.ts'
import type { Scope } from '../../test/e2e/lab/scope.ts'
import type { Server } from '../lab/server.ts'
import type { Site } from '../lab/site.ts'
import { getGoProgram, type GoProgram } from './build.ts'
import { startOciregistry, startZot } from './others.ts'

export interface Peers {
  /** Ours first. */
  servers: readonly Server[]
  /** Who is not there, and why. */
  absent: readonly string[]
}

/** Folders of sources, where the Go module proxy cannot be had. */
export type Checkouts = Partial<Record<GoProgram, string>>

export async function startPeers(
  scope: Scope,
  site: Site,
  origin: Origin,
  checkouts: Checkouts,
): Promise<Peers> {
  const own = { ...site, originPort: origin.port }
  // A registry has no client certificate to show.
  const open = { ...site, originPort: origin.openPort }
  // As it is installed.
  const program = join(makeBuild(subfolder(site.folder, 'build')), 'main.js')
  const servers = [
    await startGateway(scope, { ...own, program }),
    await startNginxCache(scope, own),
    await startRegistryCache(scope, { ...open, name: 'docker-registry' }),
  ]
  const start: Record<GoProgram, (program: string) => Promise<Server>> = {
    'distribution 3': async (program) =>
      startRegistryCache(scope, { ...open, name: 'distribution 3', program }),
    ociregistry: async (program) => startOciregistry(scope, { ...open, program }),
    zot: async (program) => startZot(scope, { ...open, program }),
  }
  const absent: string[] = []
  for (const program of Object.keys(start) as GoProgram[]) {
    const built = getGoProgram(program, subfolder(site.folder, 'go'), checkouts[program])
    if ('problem' in built) absent.push(`${program}: ${built.problem}`)
    else servers.push(await start[program](built.path))
  }
  return { servers, absent }
}
