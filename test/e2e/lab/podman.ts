// podman with a storage of its own.
import { join } from 'node:path'
import type { Test } from 'tap'
import { runEnclosed } from './enclosure.ts'
import { makeFolder } from './folder.ts'
import type { Outcome } from './program.ts'

export type Podman = (...args: string[]) => Promise<Outcome>

/** A podman with nothing in it; each call resolves with whatever came of it. Needs root. */
export function makePodman(t: Pick<Test, 'teardown'>): Podman {
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
  return (...args) => runEnclosed({ folder, command: 'podman', args: [...options, ...args], env })
}
