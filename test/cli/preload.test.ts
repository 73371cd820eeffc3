import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { sample } from '../helpers/archives.ts'
import { runCommand } from '../helpers/command.ts'
import { inspectCache } from '../helpers/cache-folder.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { startUpstream } from '../helpers/upstream.ts'

const image = await sample('preload')

async function setUp(t: Test) {
  const upstream = await startUpstream(t, { repositories: { app: image.content } })
  const folder = t.testdir({
    'gateway.yaml': `listen: { insecureHttp: true }
cache: { dir: cache }
upstreams: { registry.local: { url: '${upstream.url}' } }
defaultUpstream: registry.local
`,
    'images.txt': '# what the edge needs\napp:1.0\n',
  })
  const run = async (...args: string[]) => preload(folder, ...args)
  return { folder, run, upstream }
}

const preload = (cwd: string, ...args: string[]) =>
  runCommand(['preload', ...args], { cwd, env: { PORTCULLIS_CONFIG: 'gateway.yaml' } })

t.test('a list: a line per image and a summary, progress on stderr', async (t) => {
  const { folder, run } = await setUp(t)
  const { status, stdout, stderr } = await run('images.txt')
  t.equal(status, 0, stderr)
  const [line, end] = stdout.split('\n')
  t.match(line, `registry.local/app:1.0 ${image.index} (`)
  t.match(line, / KiB new, 1 referrers\)$/)
  t.match(end, /^1 preloaded, 0 failed, \d+\.\d KiB new$/)
  t.match(stderr, /^registry\.local\/app:1\.0: \d+\.\d KiB\n$/)
  const { stored, tags, temporary } = inspectCache(join(folder, 'cache'))
  t.equal(stored.length, image.content.blobs.size + image.content.manifests.size)
  t.same(tags, { 'registry.local/app:1.0': image.index })
  t.same(temporary, [])
})

t.test('a name with capitals, where the upstream says that it has such', async (t) => {
  const upstream = await startUpstream(t, { repositories: { 'Team/Model': image.content } })
  const config = (keys: string) => `listen: { insecureHttp: true }
cache: { dir: cache }
upstreams: { models.local: { url: '${upstream.url}', ${keys} } }
`
  const folder = t.testdir({
    'gateway.yaml': config('caseSensitive: true, rewrite: [{ from: Old/**, to: Team/** }]'),
    'plain.yaml': config(''),
  })
  for (const name of ['Team/Model', 'Old/Model']) {
    const { status, stdout, stderr } = await preload(folder, `models.local/${name}:1.0`)
    t.equal(status, 0, stderr)
    t.match(stdout, `models.local/Team/Model:1.0 ${image.index} (`)
  }
  const refused = await preload(folder, 'models.local/Team/Model:1.0', '--config', 'plain.yaml')
  t.equal(refused.status, 2)
  t.match(refused.stderr, /Team\/Model is no repository name/)
})

t.test('beside a running gateway, which then needs no upstream', async (t) => {
  const upstream = await startUpstream(t, { repositories: { app: image.content } })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.local: { url: '${upstream.url}' } }\ndefaultUpstream: registry.local\n`,
  )
  const { status, stderr } = await preload(gateway.folder, 'app:1.0')
  t.equal(status, 0, stderr)
  await upstream.close()
  const tag = async () => gateway.send('/v2/app/manifests/1.0')
  // The gateway looks once a second whether another process has written to the index.
  let served = await tag()
  for (let tries = 0; served.status !== 200 && tries < 50; tries += 1) {
    await setTimeout(200)
    served = await tag()
  }
  t.match(served, { status: 200, headers: { 'docker-content-digest': image.index } })
  for (const [digest, bytes] of image.content.blobs) {
    const answer = await gateway.send(`/v2/app/blobs/${digest}`)
    t.equal(answer.status, 200)
    t.ok(answer.body.equals(bytes))
  }
})

t.test('what failed is named, and the rest is preloaded: exit code 1', async (t) => {
  const { run } = await setUp(t)
  const { status, stdout, stderr } = await run('app:nope', 'images.txt')
  t.equal(status, 1)
  t.match(stdout, '1 preloaded, 1 failed')
  t.match(stderr, /^failed: registry\.local\/app:nope: .+$/m)

  const inJson = await run('app:nope', 'images.txt', '--json', '--platform', 'linux/amd64')
  t.equal(inJson.status, 1)
  t.match(JSON.parse(inJson.stdout), {
    preloaded: [{ name: 'registry.local/app:1.0', digest: image.index, fetched: 0 }],
    failed: [{ name: 'registry.local/app:nope', message: /./ }],
    problems: [],
  })
})

t.test('a wrong command line: exit code 2, and nobody is asked', async (t) => {
  const { run, upstream } = await setUp(t)
  t.match(await run(), { status: 2, stderr: /^IMAGE: is missing/ })
  t.match(await run('app', '--jobs', '0'), { status: 2, stderr: /^--jobs: / })
  t.match(await run('app', '--platform', 'linux'), { status: 2, stderr: /^--platform: / })
  t.match(await run('images.txt', 'nope.io/app', 'gone.io/app'), {
    status: 2,
    stderr: `nope.io/app: nope.io is no upstream; there are registry.local
gone.io/app: gone.io is no upstream; there are registry.local
`,
  })
  t.equal(upstream.requests.length, 0)
})
