// The commands on what a cache holds, beside a running gateway and without one.
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { withCache } from '../../src/cli/cache/asking.ts'
import { loadConfig } from '../../src/config/load.ts'
import { buildSampleImage } from '../../src/demo/sample-image.ts'
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts'
import { storedIn, until } from '../helpers/cache.ts'
import { runCommand } from '../helpers/command.ts'
import { startTestGateway } from '../helpers/gateway.ts'
import { startUpstream } from '../helpers/upstream.ts'

const [one, two] = await Promise.all(
  [2_000_000, 500_000].map(async (layerBytes) => buildSampleImage({ layerBytes })),
)

/** A gateway that has pulled `app:1.0` and `lib:1.0` for one platform each. */
async function startStocked(t: Test) {
  if (one === undefined || two === undefined) throw new Error('no images')
  const upstream = await startUpstream(t, { repositories: { app: one, lib: two } })
  const gateway = await startTestGateway(
    t,
    `upstreams: { registry.local: { url: '${upstream.url}' } }\ndefaultUpstream: registry.local\n`,
  )
  const stored = new Set<string>()
  const pull = async (repository: string) => {
    const { body } = await gateway.send(`/v2/${repository}/manifests/1.0`)
    stored.add(digestOf(body))
    const { manifests } = JSON.parse(body.toString()) as { manifests: { digest: string }[] }
    const manifest = await gateway.send(`/v2/${repository}/manifests/${manifests[0]?.digest ?? ''}`)
    const { config, layers } = JSON.parse(manifest.body.toString()) as {
      config: { digest: Digest }
      layers: { digest: Digest }[]
    }
    for (const { digest } of manifests.slice(0, 1)) stored.add(digest)
    for (const { digest } of [config, ...layers]) {
      stored.add(digest)
      const { status } = await gateway.send(`/v2/${repository}/blobs/${digest}`)
      if (status !== 200) throw new Error(`${digest}: ${status}`)
    }
    return layers.map(({ digest }) => digest)
  }
  const layers = { app: await pull('app'), lib: await pull('lib') }
  const dir = join(gateway.folder, 'cache')
  await until(() => storedIn(dir).length === stored.size, 'all of it on the disk')
  const run = async (...args: string[]) =>
    runCommand(args, { cwd: gateway.folder, env: { PORTCULLIS_CONFIG: 'gateway.yaml' } })
  const json = async <Answer>(...args: string[]) => {
    const { stdout, stderr } = await run(...args, '--json')
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as Answer
  }
  const own = layers.app.find((digest) => !layers.lib.includes(digest)) ?? ''
  const shared = layers.app.find((digest) => layers.lib.includes(digest)) ?? ''
  return { gateway, upstream, dir, own, shared, run, json }
}

type Site = Awaited<ReturnType<typeof startStocked>>

/** The same beside a gateway that runs, and behind one that has ended. */
function both(name: string, test: (t: Test, site: Site, isRunning: boolean) => Promise<void>) {
  t.test(`${name}, beside a gateway`, async (t) => test(t, await startStocked(t), true))
  t.test(`${name}, without a gateway`, async (t) => {
    const site = await startStocked(t)
    await site.gateway.close(0)
    t.notOk(existsSync(join(site.dir, 'control.sock')), 'the socket went with it')
    await test(t, site, false)
  })
}

interface Image {
  name: string
  size: number
  pinnedBy: string[]
  lastPull: string
}

both('images and blobs', async (t, { run, json, dir }) => {
  const images = await json<Image[]>('images')
  t.match(
    images.map(({ name }) => name),
    ['registry.local/app:1.0', 'registry.local/lib:1.0'],
  )
  t.ok((images[0]?.size ?? 0) > (images[1]?.size ?? 0))
  const { status, stdout } = await run('images', '--sort', 'size')
  t.equal(status, 0)
  t.match(stdout, /^IMAGE +DIGEST +SIZE +ALONE +AGE +LAST PULL\n/)
  t.match(stdout, /^registry\.local\/app:1\.0 +sha256:[0-9a-f]{12} .*\nregistry\.local\/lib:1\.0 /m)
  t.same((await json<Image[]>('images', '--match', '*/lib')).length, 1)
  t.same(await json('images', '--match', '*/lib:2*'), [])
  const blobs = await json<{ digest: string; size: number; repositories: string[] }[]>('blobs')
  t.same(blobs.map(({ digest }) => digest).sort(), storedIn(dir))
  const sorted = await json<{ size: number }[]>('blobs', '--sort', 'size', '--match', '**')
  t.same(
    sorted.map(({ size }) => size),
    sorted.map(({ size }) => size).sort((a, b) => b - a),
  )
  t.match((await run('blobs')).stdout, /^sha256:[0-9a-f]{64} .* registry\.local\/app$/m)
})

both(
  'rm, pin and unpin',
  async (t, { run, json, dir, gateway, upstream, own, shared }, isRunning) => {
    t.match(await run('pin', 'app:1.0'), { status: 0, stdout: 'registry.local/app:1.0 pinned\n' })
    t.same(
      (await json<Image[]>('images')).map(({ pinnedBy }) => pinnedBy),
      [['operator'], []],
    )
    const refused = await run('rm', 'app:1.0')
    t.equal(refused.status, 1)
    t.match(refused.stderr, /^failed: app:1\.0 is pinned by operator: .* --force\n$/)
    t.match(await run('rm', 'nobody:1.0'), {
      status: 1,
      stderr: 'failed: registry.local/nobody:1.0 is not in the cache\n',
    })
    t.match(await run('unpin', 'app:1.0'), { status: 0 })
    const removed = await run('rm', 'app:1.0')
    t.match(removed, { status: 0, stdout: /^registry\.local\/app:1\.0 \(\d\.\d MiB free\)\n$/ })
    t.notOk(storedIn(dir).includes(own))
    t.ok(storedIn(dir).includes(shared), 'what another image needs stays')
    t.same((await json<Image[]>('images')).length, 1)
    if (!isRunning) return
    const before = upstream.requests.length
    t.equal((await gateway.send('/v2/app/manifests/1.0')).status, 200)
    t.ok(upstream.requests.length > before, 'the gateway has noticed at once')
  },
)

both('prune', async (t, { run, json, dir }) => {
  const before = storedIn(dir)
  const dry = await run('prune', '--match', 'registry.local/app', '--dry-run')
  t.equal(dry.status, 0)
  t.match(
    dry.stdout,
    /^registry\.local\/app:1\.0 \(\d\.\d MiB\)\n1 would go, which would free \d\.\d MiB of \d\.\d MiB\n$/,
  )
  t.same(storedIn(dir), before)
  t.same(await json('prune', '--older-than', '1h'), {
    dryRun: false,
    removed: [],
    bytes: 0,
    blobs: 0,
    left: {
      entries: before.length,
      bytes: before.reduce((sum, name) => sum + bytesOf(dir, name), 0),
    },
  })
  t.match(
    (await run('prune', '--match', '*/app', '--to', '1MiB')).stdout,
    /^1 gone, which has freed/m,
  )
  t.ok(storedIn(dir).length < before.length)
  t.same(
    (await json<Image[]>('images')).map(({ name }) => name),
    ['registry.local/lib:1.0'],
  )
})

both('verify', async (t, { run, json, dir, own, gateway }, isRunning) => {
  const all = storedIn(dir).length
  t.match(await run('verify'), {
    status: 0,
    stdout: new RegExp(`^${all} files, .* 0 not right\n$`),
  })
  truncateSync(pathOf(dir, own), 1000)
  const { status, stderr } = await run('verify', '--rate', '1GiB/s')
  t.equal(status, 1)
  t.match(stderr, `${own}: wrong\n`)
  t.notOk(existsSync(pathOf(dir, own)))
  if (isRunning) {
    t.equal((await gateway.send(`/v2/app/blobs/${own}`)).status, 200, 'fetched again')
  }
  t.match(await json('verify'), { isRunning: false, flaws: 0, share: 1 })
})

t.test('without a gateway, whoever looks in makes no room', async (t) => {
  const { gateway, dir } = await startStocked(t)
  await gateway.close(0)
  const file = join(gateway.folder, 'gateway.yaml')
  const limited = readFileSync(file, 'utf8').replace(/^cache: .*$/m, (line) =>
    line.replace('{', '{ maxBytes: 1MiB,'),
  )
  writeFileSync(file, limited)
  const config = await loadConfig(file)
  t.equal(config.cache.maxBytes, 2 ** 20)
  const before = storedIn(dir).toSorted()
  await withCache(config, async (ask) => {
    // What a running cache does about its room, it does every second.
    await delay(1500)
    t.match(await ask('GET', '/images'), { images: [{}, {}] })
  })
  t.same(storedIn(dir).toSorted(), before)
})

t.test('what is wrong with the command line, or the config', async (t) => {
  const { gateway, run } = await startStocked(t)
  const wrong: [args: string[], stderr: RegExp][] = [
    [['prune'], /^prune: say what is to go: /],
    [['prune', '--older-than', 'soon'], /^--older-than: must be a duration such as 5m\n$/],
    [['prune', '--to', '5'], /^--to: must be a size such as 50GiB\n$/],
    [['prune', '--match', 'app:'], /^--match: must be a pattern of images such as /],
    [['images', '--match', 'a b'], /^--match: must be a pattern/],
    [['images', '--sort', 'colour'], /^--sort: must be one of size, age, last-pull\n$/],
    [['blobs', 'x'], /Unexpected argument 'x'/],
    [['rm'], /^IMAGE: is missing/],
    [['pin', 'App:1.0'], /^App:1\.0: App is no repository name\n$/],
    [['rm', 'elsewhere.test/app'], /^elsewhere\.test\/app: elsewhere\.test is no upstream/],
    [['verify', '--rate', '0MiB/s'], /^--rate: must be a rate above zero/],
    [['verify', '--rate', 'fast'], /^--rate: must be a rate above zero/],
  ]
  const judge = async () => {
    for (const [args, stderr] of wrong) {
      const result = await run(...args)
      t.equal(result.status, 2, args.join(' '))
      t.match(result.stderr, stderr, args.join(' '))
    }
  }
  await judge()
  await gateway.close(0)
  await judge()
  const yaml = readFileSync(join(gateway.folder, 'gateway.yaml'), 'utf8')
  writeFileSync(join(gateway.folder, 'gateway.yaml'), yaml.replace('dir: cache', 'dir: nowhere'))
  t.match(await run('images'), {
    status: 2,
    stderr: /^cache\.dir: .*nowhere holds no cache, or none that you may see\n$/,
  })
  t.notOk(existsSync(join(gateway.folder, 'nowhere')), 'and it is not made')
})

function pathOf(dir: string, digest: string): string {
  const hex = hexOf(digest as Digest)
  return join(dir, 'blobs/sha256', hex.slice(0, 2), hex)
}

function bytesOf(dir: string, digest: string): number {
  return statSync(pathOf(dir, digest)).size
}
