// skopeo, which keeps nothing.
import type { Test } from 'tap'
import { runEnclosed } from './enclosure.ts'
import { makeFolder } from './folder.ts'
import type { Outcome } from './program.ts'

export type Skopeo = (...args: string[]) => Promise<Outcome>

/** Runs skopeo, which finds nothing from an earlier run, and resolves with whatever came of it. */
export function makeSkopeo(t: Pick<Test, 'teardown'>): Skopeo {
  const folder = makeFolder(t)
  const env = { HOME: folder, TMPDIR: folder, XDG_DATA_HOME: folder, XDG_RUNTIME_DIR: folder }
  return (...args) =>
    runEnclosed({ folder, command: 'skopeo', args: ['--insecure-policy', ...args], env })
}
