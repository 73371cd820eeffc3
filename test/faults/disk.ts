// Run by disk.test.ts, with all that is temporary on a small disk, and the name of a row.
import { spawnSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { systemCode } from '../../src/errors.ts'
import { storedIn, until } from '../helpers/cache.ts'
import { fault, layer, layerPath, manifestPath, type Site } from './site.ts'

const whole = { status: 200, bytes: layer.bytes.length, isWhole: true, digest: layer.digest }
const ballast = join(tmpdir(), 'ballast')

const rows: Record<string, (t: Test, site: Site) => Promise<void>> = {
  async 'a disk that is full'(t, site) {
    fill(() => writeFileSync(ballast, Buffer.alloc(64 * 1024), { flag: 'a' }))
    await streams(t, site)
  },
  async 'a disk without inodes'(t, site) {
    mkdirSync(ballast)
    let count = 0
    fill(() => writeFileSync(join(ballast, String(count++)), ''))
    await streams(t, site)
  },
  async 'a disk that is read-only'(t, { pull, send, close, restart, dir, upstream }) {
    t.equal((await send(manifestPath)).status, 200)
    t.same(await pull(layerPath), whole)
    await until(() => storedIn(dir).includes(layer.digest))
    await close(10_000)
    remount('ro')
    await restart()
    const asked = upstream.requests.length
    t.equal((await send(manifestPath)).status, 200)
    t.same(await pull(layerPath), whole, 'hits are served')
    t.equal(upstream.requests.length, asked)
    t.equal((await send('/v2/app/manifests/1.0')).status, 200, 'misses are passed through')
    await close(10_000)
    remount('rw')
    await restart()
  },
}

const name = process.argv[2] ?? ''
const act = rows[name]
if (act === undefined) throw new Error(`no row ${name}`)
fault(name, act)

/** Until nothing more goes onto the disk. */
function fill(more: () => void): void {
  try {
    for (;;) more()
  } catch (error) {
    if (systemCode(error) !== 'ENOSPC') throw error
  }
}

async function streams(t: Test, { pull, send, dir }: Site): Promise<void> {
  t.equal((await send(manifestPath)).status, 200)
  t.same(await pull(layerPath), whole, 'streamed all the same')
  t.notOk(storedIn(dir).includes(layer.digest), 'and not kept')
  rmSync(ballast, { recursive: true })
}

function remount(mode: 'ro' | 'rw'): void {
  const { status, stderr } = spawnSync('mount', ['-o', `remount,${mode}`, tmpdir()])
  if (status !== 0) throw new Error(`mount: ${stderr.toString()}`)
}
