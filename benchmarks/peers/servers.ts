// Those that would be used instead, each an empty pull-through cache behind mutual TLS.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { findGoProgram } from '../../test/e2e/lab/go-program.ts'
import { subfolder } from '../../test/e2e/lab/folder.ts'
import { startGateway } from '../lab/gateway.ts'
import { startNginxCache, type Origin } from '../lab/nginx.ts'
import { startRegistryCache } from '../lab/registry.ts'
import type { Scope } from '../lab/scope.ts'
import type { Server } from '../lab/server.ts'
import type { Site } from '../lab/site.ts'

export interface Peers {
  /** Ours first. */
  servers: readonly Server[]
  /** Who is not there, and why. */
  absent: readonly string[]
}

const distribution = 'github.com/distribution/distribution/v3'

/** @param checkout of distribution 3, where the Go module proxy cannot be had */
export async function startPeers(
  scope: Scope,
  site: Site,
  origin: Origin,
  checkout: string | undefined,
): Promise<Peers> {
  const own = { ...site, originPort: origin.port }
  // A registry has no client certificate to show.
  const open = { ...site, originPort: origin.openPort }
  const servers = [
    await startGateway(scope, own),
    await startNginxCache(scope, own),
    await startRegistryCache(scope, { ...open, name: 'docker-registry' }),
  ]
  const absent = [
    'ociregistry, zot: they have to be built and configured by hand; what was measured with them is in docs/performance.md',
  ]
  const built = distributionProgram(subfolder(site.folder, 'go'), checkout)
  if ('program' in built) {
    const { program } = built
    servers.push(await startRegistryCache(scope, { ...open, name: 'distribution 3', program }))
  } else absent.unshift(`distribution 3: ${built.problem}`)
  return { servers, absent }
}

/** The one on PATH, or one that is built now. */
function distributionProgram(
  folder: string,
  checkout: string | undefined,
): { program: string } | { problem: string } {
  const installed = findGoProgram('registry-v3')
  if (installed !== undefined && checkout === undefined) return { program: installed }
  const go = findGoProgram('go')
  if (go === undefined) return { problem: 'there is no Go to build it with, and no registry-v3' }
  const target = join(folder, 'registry')
  const [args, cwd] =
    checkout === undefined
      ? [['install', `${distribution}/cmd/registry@v3.0.0`], folder]
      : [['build', '-o', target, './cmd/registry'], checkout]
  const env = { ...process.env, GOBIN: folder, GOFLAGS: '-mod=mod' }
  const { status, stderr } = spawnSync(go, args, { cwd, env, encoding: 'utf8' })
  if (status === 0) return { program: target }
  return { problem: `cannot be built: ${stderr?.trim().split('\n').at(-1) ?? ''}` }
}
