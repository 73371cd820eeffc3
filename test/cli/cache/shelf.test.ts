// `portcullis shelf`, beside a gateway, and the number to alarm on.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { sample } from '../../helpers/archives.ts'
import { until } from '../../helpers/cache.ts'
import { runCommand } from '../../helpers/command.ts'
import { startTestGateway } from '../../helpers/gateway.ts'
import { startUpstream } from '../../helpers/upstream.ts'

t.test('what is here, what is missing, and since when', async (t) => {
  const image = await sample('shelf')
  const upstream = await startUpstream(t, { repositories: { app: image.content } })
  const gateway = await startTestGateway(
    t,
    `upstreams: { up.test: { url: '${upstream.url}' } }
shelf: [{ image: 'up.test/app:1.0' }, { image: 'up.test/none:2' }]
`,
  )
  const config = join(gateway.folder, 'gateway.yaml')
  const shelf = async (...args: string[]) => runCommand(['shelf', '--config', config, ...args])
  const missing = async () => {
    const answer = await fetch(`http://127.0.0.1:${gateway.adminPort}/metrics`)
    const text = await answer.text()
    return Number(/^portcullis_shelf_missing_images (\d+)$/m.exec(text)?.[1])
  }
  const rows = async () => {
    const { stdout } = await shelf('--json')
    return JSON.parse(stdout) as { missing: number; images: Record<string, unknown>[] }
  }
  while ((await rows()).images.some(({ checkedAt }) => checkedAt === undefined));
  t.match(await rows(), {
    missing: 1,
    images: [
      { image: 'up.test/app:1.0', isMissing: false, digest: image.index, checkedAt: /^\d{4}-/ },
      { image: 'up.test/none:2', isMissing: true, missingSince: /^\d{4}-/, problem: /no such/ },
    ],
  })
  t.equal(await missing(), 1)
  const { stdout, status } = await shelf()
  t.match(stdout, /^IMAGE +STATE +SINCE/)
  t.match(stdout, /up\.test\/app:1\.0 +here/)
  t.match(stdout, /up\.test\/none:2 +missing +\d{4}-.*no such/)
  t.match(stdout, /\n2 on the shelf, 1 missing\n$/)
  t.equal(status, 0)
  t.equal((await shelf('--check')).status, 1)
  const refused = await runCommand(['rm', 'up.test/app:1.0', '--config', config])
  t.match(refused, { status: 1, stderr: /is pinned by shelf: take it off the shelf first/ })

  const yaml = readFileSync(config, 'utf8')
  writeFileSync(config, yaml.replace(/^shelf:.*$/m, "shelf: [{ image: 'up.test/app:latest' }]"))
  t.ok(await gateway.reload())
  await until(() =>
    gateway.lines.some(({ msg, image }) => msg === 'shelved' && image === 'up.test/app:latest'),
  )
  t.equal(await missing(), 0)
  t.equal((await shelf('--check')).status, 0)
})

t.test('without a gateway everything is missing', async (t) => {
  const folder = t.testdir({
    'gateway.yaml': `listen: { insecureHttp: true }
cache: { dir: cache }
upstreams: { up.test: {} }
shelf: [{ image: 'up.test/app:1.0' }]
`,
  })
  const config = join(folder, 'gateway.yaml')
  const { stdout, status } = await runCommand(['shelf', '--check', '--config', config])
  t.match(stdout, /missing.*no gateway has looked/)
  t.equal(status, 1)
})
