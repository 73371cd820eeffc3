// podman with a storage of its own.
import { join } from 'node:path'
import type { Test } from 'tap'
import { runEnclosed } from './enclosure.ts'
import { makeFolder } from './folder.ts'
import type { Outcome } from './program.ts'

export type Podman = (...args: string[]) => Promise<Outcome>

/**
 * A podman with nothing in it; each call resolves with whatever came of it. Needs root.
 * @param etc takes the place of /etc/containers
 */
export function makePodman(t: Pick<Test, 'teardown'>, etc = '/etc/containers'): Podman {
  const folder = makeFolder(t)
  const env = { HOME: folder, TMPDIR: folder }
  const options = [
    `--root=${join(folder, 'root')}`,
    `--runroot=${join(folder, 'run')}`,
    `--tmpdir=${join(folder, 'tmp')}`,
    `--network-config-dir=${join(folder, 'network')}`,
    '--storage-driver=vfs',
    '--cgroup-manager=cgroupfs',
    '--events-backend=none',
  ]
  const overlays = { '/etc/containers': etc }
  return (...args) =>
    runEnclosed({ folder, overlays, command: 'podman', args: [...options, ...args], env })
}
