// `portcullis import`: output, progress lines and exit codes.
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { craneFiles, sample, tarWith } from '../helpers/archives.ts'
import { runCommand } from '../helpers/command.ts'
import { inspectCache } from '../helpers/cache-folder.ts'

async function setUp(t: Test) {
  const folder = t.testdir({
    'gateway.yaml': `listen: { insecureHttp: true }
cache: { dir: cache }
upstreams: { docker.io: {}, registry.local: {} }
defaultUpstream: docker.io
`,
    'good.tar': await tarWith(craneFiles(await sample(), ['app:1'])),
    'bad.tar': await tarWith({ 'manifest.json': Buffer.from('[') }),
  })
  const run = (...args: string[]) =>
    runCommand(['import', ...args], { cwd: folder, env: { PORTCULLIS_CONFIG: 'gateway.yaml' } })
  return { folder, run }
}

t.test('a line per image, progress on stderr', async (t) => {
  const { folder, run } = await setUp(t)
  const { status, stdout, stderr } = await run('good.tar', '--as', 'registry.local/team/app')
  t.equal(status, 0)
  t.match(stdout, /^registry\.local\/team\/app:1 sha256:[0-9a-f]{64} \(\d+\.\d KiB new\)\n$/)
  t.match(stderr, /^app:1: \d+\.\d KiB\n$/)
  t.same(Object.keys(inspectCache(join(folder, 'cache')).tags), ['registry.local/team/app:1'])
})

t.test('--json, and another cache folder', async (t) => {
  const { folder, run } = await setUp(t)
  const { status, stdout } = await run('good.tar', 'bad.tar', '--json', '--cache-dir', 'other')
  t.equal(status, 1)
  t.match(JSON.parse(stdout), {
    imported: [{ path: 'good.tar', names: ['docker.io/library/app:1'], absent: [] }],
    failed: [{ path: 'bad.tar', entry: 'manifest.json', names: [] }],
  })
  t.equal(inspectCache(join(folder, 'other')).stored.length, 5)
})

t.test('what failed is named, and the rest is imported: exit code 1', async (t) => {
  const { run } = await setUp(t)
  const { status, stdout, stderr } = await run('bad.tar', 'good.tar', 'nowhere.tar')
  t.equal(status, 1)
  t.match(stdout, /^docker\.io\/library\/app:1 /)
  t.match(stderr, 'failed: bad.tar: manifest.json: is no JSON\n')
  t.match(stderr, 'failed: nowhere.tar: does not exist or cannot be read\n')
})

t.test('a wrong command line: exit code 2', async (t) => {
  const { run } = await setUp(t)
  t.match(await run(), { status: 2, stderr: /^PATH: is missing/ })
  t.match(await run('good.tar', '--wrong'), { status: 2 })
  t.match(await run('good.tar', '--as', 'nope/app'), {
    status: 2,
    stderr: '--as: nope is no upstream; there are docker.io, registry.local\n',
  })
  t.match(await run('good.tar', '--config', 'nowhere.yaml'), {
    status: 2,
    stderr: /does not exist/,
  })
  t.match(await run('good.tar', '--cache-dir', 'good.tar'), { status: 2, stderr: /^cache\.dir: / })
})
