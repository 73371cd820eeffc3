// The documents for operators: README's gateway starts as printed, links lead somewhere, commands are
// called in one way, and what needs a restart is told.
import { existsSync, globSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { parse } from 'yaml'
import { startGateway } from '../../src/app.ts'
import { commands } from '../../src/cli/commands.ts'
import { loadConfig } from '../../src/config/load.ts'
import { fixedKeys } from '../../src/config/restart-keys.ts'
import { runCommand } from '../helpers/command.ts'
import { manualPages } from '../manual.ts'
import { recordingLog } from '../helpers/listener.ts'
import { headingAnchors } from './monitoring.ts'

const root = join(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const documents = globSync(['*.md', 'docs/**/*.md'], { cwd: root })

for (const file of ['README.md', 'docs/guides/first-site.md']) {
  t.test(`${file}: the gateway starts as printed, by the commands before it`, async (t) => {
    const text = read(file)
    const [before = '', rest = ''] = text.split(/^ *```yaml\n(?= *listen:)/m)
    const [yaml = ''] = rest.split(/^ *```$/m)
    const folder = t.testdir({})
    const config = join(folder, 'gateway.yaml')
    for (const [, line = ''] of before.matchAll(/^ *portcullis (.+)$/gm)) {
      const { status, stderr } = await runCommand(line.split(' '), { cwd: folder })
      t.equal(status, 0, `${line}: ${stderr}`)
    }
    const indent = /^ */.exec(yaml)?.[0] ?? ''
    const printed = yaml.replaceAll(new RegExp(`^${indent}`, 'gm'), '')
    writeFileSync(config, printed)
    const checked = await runCommand(['check', '--config', config], { cwd: folder })
    t.match(checked, { status: 0, stderr: '' })
    // Its ports may be taken here.
    const free = printed
      .replace(/^( +)port: 5443\n/m, '')
      .replace('listen:\n', 'listen:\n  port: 0\n')
    writeFileSync(config, `${free}admin: { port: 0 }\n`)
    const gateway = await startGateway(await loadConfig(config), { log: recordingLog().log })
    t.ok(gateway.port > 0)
    await gateway.close(0)
  })
}

t.test('links between the documents lead somewhere', async (t) => {
  for (const file of documents) {
    for (const [, link = ''] of read(file).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue
      const [path = '', anchor] = link.split('#')
      const target = path === '' ? file : join(dirname(file), path)
      t.ok(existsSync(join(root, target)), `${file}: ${link}`)
      if (anchor === undefined || !target.endsWith('.md')) continue
      t.ok(headingAnchors(read(target)).has(anchor), `${file}: ${link}`)
    }
  }
})

t.test('commands are called in one way, and there are such commands', async (t) => {
  for (const file of documents.filter(
    (one) => one.startsWith('docs/guides') || one === 'README.md',
  )) {
    const blocks = [...read(file).matchAll(/^ *```sh\n(.*?)^ *```$/gms)].map(
      ([, text = '']) => text,
    )
    for (const block of blocks) {
      t.notMatch(block, /npm start --|node src\/main\.ts/, file)
      for (const [, name = ''] of block.matchAll(/^ *portcullis ([a-z]+)/gm)) {
        t.ok(Object.hasOwn(commands, name), `${file}: portcullis ${name}`)
      }
    }
  }
})

t.test('what needs a restart is in its guide', async (t) => {
  const guide = read('docs/guides/reload-or-restart.md')
  const config = await loadConfig(join(root, 'examples/mutual-tls.yaml'))
  const other = { host: '::1', port: 1, tls: { clientAuth: 'none', cert: undefined } }
  const next = {
    listen: { ...other, insecureHttp: true, proxyProtocol: undefined },
    admin: { ...other, port: 2 },
    cache: {},
    traces: {},
    log: {},
  }
  const problems = fixedKeys(config, { ...config, ...next } as unknown as typeof config)
  t.ok(problems.length > 5)
  for (const { path } of problems) t.match(guide, `\`${path}\``)
})

t.test('the changelog has each section and each entry once', async (t) => {
  const unreleased = read('CHANGELOG.md').split(/^## /m)[1] ?? ''
  const sections = [...unreleased.matchAll(/^### (.*)$/gm)].map(([, name]) => name)
  t.same(
    sections,
    ['Added', 'Changed', 'Fixed', 'Security'].filter((name) => sections.includes(name)),
  )
  const entries = unreleased.split(/^- /m).slice(1)
  t.equal(new Set(entries).size, entries.length)
})

t.test('there is a manual page for each command, and for nothing else', async (t) => {
  const pages = Object.keys(await manualPages(''))
  t.same(readdirSync(join(root, 'docs/man')).toSorted(), pages.toSorted())
})

t.test('package and chart are of one version', async (t) => {
  const { version } = JSON.parse(read('package.json')) as { version: string }
  const chart = parse(read('deploy/helm/portcullis/Chart.yaml')) as Record<string, string>
  t.match(chart, { version, appVersion: version })
})
