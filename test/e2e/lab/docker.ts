// dockerd with everything of its own, a /etc/docker/certs.d included, and `docker` to drive it.
import { writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Test } from 'tap'
import { certificateFolder, type Pair } from './certificates.ts'
import { startEnclosed } from './enclosure.ts'
import { makeFolder, subfolder } from './folder.ts'
import { run, type Outcome } from './program.ts'

export interface Docker {
  /** What `docker` and Compose need to find it. */
  env: Record<string, string>
  /** Runs `docker` and resolves with whatever came of it. */
  docker: (...args: string[]) => Promise<Outcome>
  /** Its /etc/docker. */
  etc: string
  /** Writes what `certs.d` holds for a registry `host:port`; docker reads it at each pull. */
  trust: (registry: string, ca: string, client?: Pair) => void
}

/**
 * The name of the gateway for docker. It must not resolve to 127.0.0.0/8, where docker checks no
 * certificate and shows none; 0.0.0.0 is this machine as well.
 */
export const dockerHost = 'gateway.test'

/**
 * Starts an empty dockerd, with its containerd, in namespaces of its own. Needs root.
 * @param options.networks containers get networks, but neither they nor dockerd reach this machine
 * @param options.programs the folder of dockerd, containerd and its shim; on PATH unless told
 */
export async function startDocker(
  t: Pick<Test, 'teardown'>,
  { networks = false, programs }: { networks?: boolean; programs?: string } = {},
): Promise<Docker> {
  const folder = makeFolder(t)
  const etc = subfolder(folder, 'etc')
  const hosts = join(folder, 'hosts')
  writeFileSync(hosts, `127.0.0.1 localhost\n0.0.0.0 ${dockerHost}\n`)
  const config = join(folder, 'daemon.json')
  writeFileSync(
    config,
    JSON.stringify({
      'data-root': join(folder, 'data'),
      'exec-root': join(folder, 'exec'),
      pidfile: join(folder, 'docker.pid'),
      hosts: [`unix://${join(folder, 'docker.sock')}`],
      ...(networks ? {} : { bridge: 'none', iptables: false }),
      ip6tables: false,
    }),
  )
  const env = {
    DOCKER_HOST: `unix://${join(folder, 'docker.sock')}`,
    DOCKER_CONFIG: subfolder(folder, 'client'),
    HOME: folder,
    PATH: [programs ?? [], process.env['PATH'] ?? ''].flat().join(delimiter),
  }
  await startEnclosed(t, {
    folder,
    ownNetwork: networks,
    overlays: { '/etc/docker': etc, '/etc/hosts': hosts },
    command: programs === undefined ? 'dockerd' : join(programs, 'dockerd'),
    args: ['--config-file', config],
    env,
    ready: async () => (await run('docker', ['version'], { env })).code === 0,
  })
  return {
    etc,
    env,
    docker: (...args) => run('docker', args, { env }),
    trust: (registry, ca, client) => {
      certificateFolder(join(etc, 'certs.d', registry), ca, client)
    },
  }
}
