// Programs that no package of Debian brings: on PATH, or built by Go, or told why they are not there.
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { findGoProgram } from '../../test/e2e/lab/go-program.ts'

const goPrograms = {
  'distribution 3': {
    /** On PATH. */
    name: 'registry-v3',
    module: 'github.com/distribution/distribution/v3/cmd/registry@v3.0.0',
    /** In a checkout. */
    source: './cmd/registry',
    tags: '',
  },
  ociregistry: {
    name: 'ociregistry',
    module: 'github.com/aceeric/ociregistry/cmd@latest',
    source: './cmd',
    tags: '',
  },
  // Without the tag it has no cache for others.
  zot: {
    name: 'zot',
    module: 'zotregistry.dev/zot/v2/cmd/zot@latest',
    source: './cmd/zot',
    tags: 'sync',
  },
} as const

export type GoProgram = keyof typeof goPrograms

/**
 * @param folder where it is built
 * @param checkout of its source, where the Go module proxy cannot be had
 */
export function getGoProgram(
  program: GoProgram,
  folder: string,
  checkout: string | undefined,
): { path: string } | { problem: string } {
  const { name, module, source, tags } = goPrograms[program]
  const installed = findGoProgram(name)
  if (installed !== undefined && checkout === undefined) return { path: installed }
  const go = findGoProgram('go')
  if (go === undefined) return { problem: `there is no Go to build it with, and no ${name}` }
  // `install` names what it makes after the folder of the package.
  const path = join(folder, checkout === undefined ? (module.match(/(\w+)@/)?.[1] ?? name) : name)
  const [args, cwd] =
    checkout === undefined
      ? [['install', '-tags', tags, module], folder]
      : [['build', '-tags', tags, '-o', path, source], checkout]
  const env = { ...process.env, GOBIN: folder, GOFLAGS: '-mod=mod' }
  const { status, stderr } = spawnSync(go, args, { cwd, env, encoding: 'utf8' })
  if (status === 0) return { path }
  const told = stderr?.trim().split('\n').slice(-2).join(' ') ?? ''
  return { problem: `cannot be built: ${told.replaceAll(/\s+/g, ' ')}` }
}
