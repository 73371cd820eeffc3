// What the program says of itself: completions, the schema of its config, the Node that it needs.
import { execFileSync, spawnSync } from 'node:child_process'
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import Schema from 'typebox/schema'
import { parse } from 'yaml'
import { commands } from '../../../src/cli/commands.ts'
import { configJsonSchema } from '../../../src/cli/program/schema.ts'
import { programVersion } from '../../../src/rules/version.ts'
import { runCommand } from '../../helpers/command.ts'
import { findProgram } from '../../requirements.ts'

const root = join(import.meta.dirname, '../../..')

t.test('bash completes commands, subcommands and options', async (t) => {
  const { stdout } = await runCommand(['completion', 'bash'])
  const file = join(t.testdir(), 'completion')
  writeFileSync(file, stdout)
  const complete = (...words: string[]) => {
    const call = `COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _portcullis; echo "\${COMPREPLY[*]}"`
    const args = ['-c', `. ${file}; ${call}`, 'bash', 'portcullis', ...words]
    return execFileSync('bash', args, { encoding: 'utf8' }).trim().split(' ')
  }
  t.same(complete('ser'), ['serve'])
  t.same(complete('').toSorted(), [...Object.keys(commands), '--help', '--version'].toSorted())
  t.same(complete('serve', '--c'), ['--config'])
  t.same(complete('pki', 're'), ['renew', 'revoke'])
  t.same(complete('pki', 'renew', '--new'), ['--new-key'])
  t.same(complete('pki', 'renew', 'edge-1', '--new'), ['--new-key'])
})

for (const shell of ['zsh', 'fish']) {
  const skip = findProgram(shell) === undefined && `${shell} not found`
  t.test(`${shell} reads its completions`, { skip }, async (t) => {
    const { stdout } = await runCommand(['completion', shell])
    const file = join(t.testdir(), 'completion')
    writeFileSync(file, stdout)
    t.equal(spawnSync(shell, ['-n', file], { encoding: 'utf8' }).stderr, '')
  })
}

t.test('another shell is named as what it is', async (t) => {
  const { status, stderr } = await runCommand(['completion', 'tcsh'])
  t.equal(status, 2)
  t.match(stderr, /bash, zsh, fish/)
})

t.test('the schema takes every example, and no key that there is not', async (t) => {
  const { stdout } = await runCommand(['schema'])
  t.same(JSON.parse(stdout), configJsonSchema())
  const schema = Schema.Compile(configJsonSchema())
  const files = globSync('examples/*.yaml', { cwd: root })
  t.ok(files.length > 0)
  for (const file of files) {
    const config: unknown = parse(readFileSync(join(root, file), 'utf8'))
    t.ok(schema.Check(config), file)
  }
  t.notOk(schema.Check({ lisen: {} }))
  t.notOk(schema.Check({ listen: { port: 70_000 } }))
  t.notOk(schema.Check({ upstreams: { 'Upper.example': {} } }))
  t.ok(schema.Check({ listen: null, policy: { rules: [] } }), 'empty sections')
})

t.test('the launcher starts the program, and tells an old Node which one it needs', async (t) => {
  const launcher = join(root, 'bin/portcullis.cjs')
  const run = (...args: string[]) => spawnSync(process.execPath, args, { encoding: 'utf8' })
  t.match(run(launcher, '--version'), { status: 0, stdout: `portcullis ${programVersion()}\n` })
  t.equal(run(launcher, 'nonsense').status, 2)
  const old = "Object.defineProperty(process, 'version', { value: 'v18.2.0' })"
  const preload = join(t.testdir({ 'old.cjs': old }), 'old.cjs')
  const refused = run('--require', preload, launcher, '--version')
  t.equal(refused.status, 2)
  t.match(refused.stderr, /needs Node >=24\.17, and this is v18\.2\.0/)
  t.notMatch(
    readFileSync(launcher, 'utf8'),
    /=>|\b(const|let|import)\b [^']|`/,
    'any Node reads it',
  )
})
