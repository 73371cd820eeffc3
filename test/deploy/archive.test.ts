// install.sh of the archive: says what it would do, does it, does it again, and takes it away; and the unit.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig } from '../../src/config/load.ts'
import { makeBuild } from '../helpers/build.ts'
import { optionsFor } from '../requirements.ts'

t.setTimeout(120_000)

const root = join(import.meta.dirname, '../..')

/** The unpacked archive, with a build of this checkout as its program, and a root folder to install to. */
function unpack(t: Test) {
  const folder = t.testdir({ root: {}, archive: { program: { bin: {} } } })
  const archive = join(folder, 'archive')
  for (const file of ['deploy/archive/install.sh', 'deploy/systemd/portcullis.service']) {
    cpSync(join(root, file), join(archive, file.split('/').at(-1) ?? ''))
  }
  cpSync(join(root, 'docs/man'), join(archive, 'man'), { recursive: true })
  makeBuild(join(archive, 'program'))
  symlinkSync(process.execPath, join(archive, 'program/bin/node'))
  const target = join(folder, 'root')
  const install = (...args: string[]) =>
    spawnSync(join(archive, 'install.sh'), args, {
      encoding: 'utf8',
      env: { ...process.env, DESTDIR: target },
    })
  return { install, at: (path: string) => join(target, path) }
}

const isRoot = process.getuid?.() === 0

t.test('a dry run changes nothing', async (t) => {
  const { install, at } = unpack(t)
  const { status, stdout, stderr } = install('--dry-run')
  t.equal(status, 0)
  t.match(stderr, /nothing was changed/)
  t.notMatch(stderr, /^installed/m)
  t.match(stdout, /^cp -R .*\/program .*\/opt\/portcullis\.new$/m)
  t.match(stdout, /^write .*\/etc\/portcullis\/gateway\.yaml$/m)
  t.notOk(existsSync(at('opt')))
})

t.test('installed, upgraded, removed', { skip: !isRoot && 'needs root' }, async (t) => {
  const { install, at } = unpack(t)
  t.equal(install().status, 0)
  for (const file of [
    'opt/portcullis/bin/node',
    'etc/systemd/system/portcullis.service',
    'usr/local/share/man/man1/portcullis-serve.1',
  ]) {
    t.ok(existsSync(at(file)), file)
  }
  t.match(
    readFileSync(at('usr/local/share/bash-completion/completions/portcullis'), 'utf8'),
    /complete -o default/,
  )
  t.equal(statSync(at('etc/portcullis/keys')).mode & 0o777, 0o700)
  t.equal(statSync(at('usr/local/bin/portcullis')).mode & 0o777, 0o755)
  t.ok(await loadConfig(at('etc/portcullis/gateway.yaml')), 'the first config is valid')

  mkdirSync(at('opt/portcullis/left-over'))
  t.equal(install().status, 0)
  t.notOk(existsSync(at('opt/portcullis/left-over')), 'replaced as a whole')

  t.equal(install('--remove').status, 0)
  t.notOk(existsSync(at('opt/portcullis')))
  t.notOk(existsSync(at('usr/local/bin/portcullis')))
  t.ok(existsSync(at('etc/portcullis/gateway.yaml')), 'what is yours stays')
})

t.test('what it cannot do, it says', async (t) => {
  const { install } = unpack(t)
  const { status, stderr } = install('--prefix')
  t.equal(status, 2)
  t.match(stderr, /usage/)
})

t.test('the unit exposes little', optionsFor('unit'), async (t) => {
  const unit = join(root, 'deploy/systemd/portcullis.service')
  const args = ['security', '--offline=true', '--threshold=20', '--no-pager', unit]
  const { status, stdout } = spawnSync('systemd-analyze', args, { encoding: 'utf8' })
  t.equal(status, 0, stdout.split('\n').at(-2) ?? '')
})
