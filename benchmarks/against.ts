// Is this version cheaper than another one? `node benchmarks/against.ts [CHECKOUT|last] [warm|miss|tiny]`: the
// last tag unless told. Exit code 1 where something costs over a tenth more; 2 where nobody can tell, because
// the machine is busy.
import { execFileSync } from 'node:child_process'
import { symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createFreshBlobs } from './lab/cold.ts'
import { addBlob, addImage, emptyContent, GiB, KiB, MiB } from './lab/content.ts'
import { startGateway } from './lab/gateway.ts'
import { startOrigin } from './lab/nginx.ts'
import { disturbance, mostDisturbance } from './lab/quiet.ts'
import { benchmark, compare, type Row } from './lab/report.ts'
import { cpuOf, inTurn } from './lab/rounds.ts'
import type { Scope } from '../test/e2e/lab/scope.ts'
import { makeSite } from './lab/site.ts'
import { measureWarm } from './lab/warm.ts'
import { makeFolder } from '../test/e2e/lab/folder.ts'

const [checkout = 'last', only] = process.argv.slice(2)
const root = join(import.meta.dirname, '..')
/** What a work may cost, of what it costs there. */
const mostRatio = 1.1

const colds = [
  {
    name: 'miss',
    work: 'miss, 4 blobs of 64 MiB at once',
    count: 4,
    size: 64 * MiB,
    unit: 'CPU s/GiB',
    scale: GiB / (4 * 64 * MiB),
  },
  {
    name: 'tiny',
    work: 'miss, 8 blobs of 2 KiB',
    count: 400,
    size: 2 * KiB,
    unit: 'CPU us',
    scale: (8 / 400) * 1e6,
  },
]

await benchmark(async (scope) => {
  const other = checkout === 'last' ? lastTag(scope) : resolve(checkout)
  const before = disturbance()
  const site = await makeSite(scope)
  const content = emptyContent()
  const [, , manifest = ''] = addImage(content, '1.0', [KiB, KiB, KiB, KiB, KiB])
  const [small, large] = [addBlob(content, 40 * KiB), addBlob(content, 64 * MiB)]
  const origin = await startOrigin(scope, { ...site, content })
  const behind = { ...site, originPort: origin.port }
  const servers = [
    await startGateway(scope, behind),
    await startGateway(scope, { ...behind, checkout: other }),
  ]
  const rows: Row[] = []
  const warm = async (work: string, line: string, per: 'requests' | 'bytes') => {
    const settings = { lines: [line], connections: per === 'bytes' ? 8 : 16, per, rounds: 7 }
    const series = await measureWarm(site, servers, settings)
    const unit =
      per === 'bytes' ? { unit: 'CPU s/GiB', scale: GiB } : { unit: 'CPU us/request', scale: 1e6 }
    rows.push(...compare(series, { work, ...unit, targets: [undefined] }))
  }
  if (only === undefined || only === 'warm') {
    await warm('warm manifest, 1.5 KiB', manifest, 'requests')
    await warm('warm blob, 40 KiB', small, 'requests')
    await warm('warm blob, 64 MiB, 8 at once', large, 'bytes')
  }
  for (const { name, work, count, size, unit, scale } of colds) {
    if (only !== undefined && only !== name) continue
    const blobs = createFreshBlobs(origin, count, size)
    const series = await inTurn(
      servers,
      async ({ port, pid }, round) => {
        const lines = blobs(round)
        await site.load({ kind: 'open', port, connections: 4 })
        return cpuOf({ pid }, async () => site.load({ kind: 'once', lines }))
      },
      { rounds: 7, seconds: 40 },
    )
    rows.push(...compare(series, { work, unit, scale, targets: [undefined] }))
  }
  process.exitCode = verdict(rows, Math.min(before, disturbance()))
  return rows
})

/** The tree of the last tag, with the packages of this one. */
function lastTag(scope: Scope): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
  const [tag] = git('tag', '--merged', 'HEAD', '--sort=-creatordate').split('\n')
  if (!tag) throw new Error('there is no tag yet: name the folder of the other version')
  const folder = join(makeFolder(scope), 'last')
  git('worktree', 'add', '--detach', folder, tag)
  scope.teardown(() => git('worktree', 'remove', '--force', folder))
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'))
  process.stderr.write(`compared with ${tag}\n`)
  return folder
}

function verdict(rows: readonly Row[], disturbed: number): number {
  const dearer = rows.filter(({ ratio }) => ratio > mostRatio)
  if (disturbed > mostDisturbance) {
    process.stderr.write('the machine is busy: ask again when nobody else works on it\n')
    return 2
  }
  for (const { work, ratio } of dearer) {
    process.stderr.write(`${work} costs ${ratio.toFixed(2)} times as much as before\n`)
  }
  return dearer.length > 0 ? 1 : 0
}
