// What may stand on a shelf, in the config or in a file of its own.
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { filesNamedBy } from '../../../src/config/files.ts'
import { effectiveConfig, loadConfig } from '../../../src/config/load.ts'
import { parseShelfPattern } from '../../../src/config/shelf/pattern.ts'
import { problemsOf } from '../../helpers/problems.ts'

const base = `listen: { insecureHttp: true }
upstreams: { docker.io: {}, registry.local: {}, 'up.test:5000': {} }
`

async function load(t: Test, shelf: string, file?: string) {
  const folder = t.testdir({
    'gateway.yaml': `${base}shelf: ${shelf}\n`,
    ...(file === undefined ? {} : { 'shelf.yaml': file }),
  })
  return loadConfig(join(folder, 'gateway.yaml'))
}

async function told(t: Test, shelf: string, file?: string): Promise<string[]> {
  const problems = await problemsOf(load(t, shelf, file))
  return problems.map(({ path, message }) => `${path}: ${message}`)
}

t.test('patterns', async (t) => {
  const upstreams = { 'docker.io': {}, 'up.test:5000': {}, models: { caseSensitive: true } }
  const parse = (text: string, defaultUpstream?: string) =>
    parseShelfPattern(text, { upstreams, defaultUpstream })
  const digest = `sha256:${'0'.repeat(64)}`
  t.match(parse('docker.io/alpine'), { repository: 'library/alpine', tag: 'latest' })
  t.match(parse('up.test:5000/a/*:v1.*'), {
    upstream: 'up.test:5000',
    repository: 'a/*',
    tag: 'v1.*',
  })
  t.match(parse('alpine:3', 'docker.io'), { upstream: 'docker.io', repository: 'library/alpine' })
  t.match(parse(`docker.io/a/b@${digest}`), { tag: undefined, digest })
  t.match(parse('models/Qwen/*:main'), { repository: 'Qwen/*' })
  t.match(parse('docker.io/Upper:1'), /is none/)
  t.match(parse('docker.io/a:b c'), /must have a tag/)
  t.match(parse('docker.io/a:'), /must have a tag/)
  t.match(parse('docker.io/'), /must name a repository/)
  t.match(parse('other.test/a:1'), /other\.test is none; there are docker\.io/)
  t.match(parse('*/a:1', 'docker.io'), /must begin with an upstream/)
  t.match(parse('alpine:3'), /no defaultUpstream/)
  t.match(parse(`docker.io/a:*@${digest}`), /wildcards/)
  t.match(parse('docker.io/a@sha256:1'), /64 hex digits/)
})

t.test('in the config', async (t) => {
  const { shelf } = await load(
    t,
    "[{ image: 'registry.local/app/*:v1.*', newest: 3, platforms: [linux/amd64] }]",
  )
  t.same(shelf, {
    file: undefined,
    entries: [
      {
        image: 'registry.local/app/*:v1.*',
        newest: 3,
        platforms: ['linux/amd64'],
        referrers: true,
        jitter: 300_000,
      },
    ],
  })
  t.same((await load(t, '[]')).shelf.entries, [])
})

t.test('in a file of its own, which is watched, and printed as its path', async (t) => {
  const config = await load(t, 'shelf.yaml', '- image: docker.io/alpine\n  schedule: 0 2 * * *\n')
  t.match(config.shelf, {
    file: /shelf\.yaml$/,
    entries: [{ image: 'docker.io/alpine', platforms: ['all'], schedule: '0 2 * * *' }],
  })
  t.ok(filesNamedBy(config).includes(config.shelf.file ?? ''))
  t.match(effectiveConfig(config), /^shelf: .*shelf\.yaml$/m)
})

t.test('what cannot be, with its place', async (t) => {
  t.match(await told(t, "[{ image: 'registry.local/a:1', newest: 2 }]"), [
    /^shelf\.0\.newest: has no effect on a tag without \*/,
  ])
  t.match(await told(t, "[{ image: 'registry.local/a:*', newest: 0 }]"), [/^shelf\.0\.newest: /])
  t.match(await told(t, '[{ newest: 1 }]'), [/^shelf\.0\.image: is missing/])
  for (const schedule of ['at two', '99 2 * * *', '0 2 * *', '0 0 31 2 *', '* * * * * *']) {
    t.match(await told(t, `[{ image: docker.io/a, schedule: '${schedule}' }]`), [
      /^shelf\.0\.schedule: must be a cron expression.*\(line 3\)$/,
    ])
  }
  t.match(await told(t, '[{ image: docker.io/a, platforms: [amd64] }]'), [
    /^shelf\.0\.platforms\.0: must be all, or a platform/,
  ])
  t.match(await told(t, '[{ image: docker.io/a }, { image: docker.io/a }]'), [
    /^shelf\.1\.image: is there already/,
  ])
  t.match(await told(t, '[{ image: docker.io/a, jitter: soon }]'), [/^shelf\.0\.jitter: /])
  t.match(await told(t, '{ image: docker.io/a }'), [/^shelf: must be a list/])
  t.match(await told(t, 'shelf.yaml'), [/shelf\.yaml: does not exist/])
  t.match(await told(t, 'shelf.yaml', '- image: nowhere.test/a\n'), [
    /^shelf\.0\.image: must begin with an upstream.*\(line 1 of .*shelf\.yaml\)$/,
  ])
  t.match(await told(t, 'shelf.yaml', '- image: [\n'), [/shelf\.yaml: .*line/])
})
