// The shell scripts: clean by shellcheck, usable from any folder, clear where they cannot work.
import { spawnSync } from 'node:child_process'
import { chmodSync, globSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { findProgram, optionsFor } from './requirements.ts'

const root = join(import.meta.dirname, '..')
const scripts = globSync(['scripts/*', '.ci/run', 'deploy/archive/install.sh'], {
  cwd: root,
  exclude: ['**/*.ts'],
}).sort()

function run(command: string, args: string[], options: { cwd: string; path?: string }) {
  return spawnSync(command, args, {
    cwd: options.cwd,
    encoding: 'utf8',
    env: { PATH: options.path ?? process.env['PATH'], HOME: options.cwd },
  })
}

t.test('shellcheck finds nothing', optionsFor('scripts'), async (t) => {
  t.ok(scripts.includes('scripts/quickstart'), 'the scripts are found')
  const found = run(findProgram('shellcheck') ?? '', scripts, { cwd: root })
  t.equal(found.stdout, '')
  t.equal(found.status, 0)
})

t.test('every script is executable and says what it is for', async (t) => {
  for (const script of scripts) {
    t.match(readFileSync(join(root, script), 'utf8'), /^#!.*sh\n# \S/, script)
    t.equal(run('test', ['-x', script], { cwd: root }).status, 0, `${script} is executable`)
  }
})

t.test('prepare prints a Node that is new enough, from any folder', async (t) => {
  const prepared = run(join(root, 'scripts/prepare'), [], { cwd: t.testdir() })
  t.equal(prepared.stderr, '')
  const version = run(prepared.stdout.trim(), ['--version'], { cwd: root })
  t.match(version.stdout, /^v(24\.(1[7-9]|[2-9]\d)|2[5-9]|[3-9]\d)\./)
})

t.test('prepare without npm, or with an old Node only, says what is missing', async (t) => {
  const folder = t.testdir({
    scripts: { prepare: readFileSync(join(root, 'scripts/prepare'), 'utf8') },
    'package-lock.json': '{}',
    bin: { node: '#!/bin/sh\n[ "$1" = --version ] && echo v20.1.0\n', npm: '#!/bin/sh\n' },
    tools: {},
  })
  mkdirSync(join(folder, 'node_modules'))
  for (const file of ['scripts/prepare', 'bin/node', 'bin/npm']) {
    chmodSync(join(folder, file), 0o755)
  }
  for (const tool of ['sh', 'dirname', 'find']) {
    symlinkSync(findProgram(tool) ?? '', join(folder, 'tools', tool))
  }
  const prepare = (path: string) => run('/bin/sh', ['scripts/prepare'], { cwd: folder, path })
  const noNpm = prepare(join(folder, 'tools'))
  t.match(noNpm.stderr, /npm is missing/)
  t.equal(noNpm.status, 1)
  const oldNode = prepare([join(folder, 'bin'), join(folder, 'tools')].join(':'))
  t.match(oldNode.stderr, /No Node >= 24\.17.*v20\.1\.0/)
  t.equal(oldNode.status, 1)
})

t.test('test refuses an option that it does not know', async (t) => {
  const refused = run(join(root, 'scripts/test'), ['--bogus'], { cwd: t.testdir() })
  t.match(refused.stderr, /usage: scripts\/test/)
  t.equal(refused.status, 2)
})
