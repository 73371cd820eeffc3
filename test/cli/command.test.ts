// What every command has in common: help for each option, the version, readers that go away, and
// foreign texts that must not steer the terminal.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import type { Command, CommandTable } from '../../src/cli/command.ts'
import { commands } from '../../src/cli/commands.ts'
import { helpOf } from '../../src/cli/help.ts'
import { craneFiles, layoutFiles, refName, sample, tarWith } from '../helpers/archives.ts'
import { runCommand } from '../helpers/command.ts'
import { makeSite } from '../helpers/listener.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
// eslint-disable-next-line no-control-regex
const steering = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/

async function commandsIn(
  table: CommandTable,
  names: string[] = [],
): Promise<{ names: string[]; command: Command }[]> {
  const found = await Promise.all(
    Object.entries(table).map(async ([name, load]) => {
      const command = await load()
      const own = { names: [...names, name], command }
      return [own, ...(await commandsIn(command.subcommands ?? {}, own.names))]
    }),
  )
  return found.flat()
}

const run = (args: string[], cwd?: string) => runCommand(args, cwd === undefined ? {} : { cwd })

t.test('every command has help for each of its options, and knows no other', async (t) => {
  const all = await commandsIn(commands)
  t.ok(all.length > 12)
  for (const { names, command } of all) {
    const stdout = await helpOf(command, [])
    if (command.subcommands !== undefined) {
      t.match(stdout, `portcullis ${names.join(' ')} `)
      continue
    }
    t.match(stdout, `portcullis ${command.usage}\n`)
    for (const [name, { help }] of Object.entries(command.options)) {
      const line = new RegExp(`^  (?:-\\w, )?--${name}(?: \\S+)?(?:\\n? +)(.*)$`, 'm').exec(stdout)
      t.ok(line?.[1] !== undefined && help.startsWith(line[1].slice(0, 12)), `--${name}`)
    }
    for (const [option] of command.usage.matchAll(/--[a-z-]+/g)) {
      t.ok(Object.hasOwn(command.options, option.slice(2)), `${option} of the synopsis`)
    }
    await t.rejects(command.run(['--no-such-option']), { code: 'ERR_PARSE_ARGS_UNKNOWN_OPTION' })
  }
})

t.test('help and version, however they are asked for', async (t) => {
  t.match(await run(['--version']), {
    status: 0,
    stdout: /^portcullis \d+\.\d+\.\d+\n$/,
    stderr: '',
  })
  t.match(await run(['pki', 'list', '--version']), { status: 0, stdout: /^portcullis \d/ })
  t.match(await run([]), { status: 2, stdout: /^Usage:/ })
  t.match(await run(['-h']), { status: 0, stdout: /^Usage:[^]*portcullis serve/ })
  for (const args of [
    ['help', 'check'],
    ['check', '--as', 'x', '--help'],
  ]) {
    t.match(await run(args), { status: 0, stdout: /^portcullis check[^]*--as CALLER/ })
  }
  t.match(await run(['--bogus']), { status: 2, stderr: /^--bogus: is no command/ })
})

/** Runs a command whose reader has gone before it says anything. */
async function unread(t: Test, args: string[], cwd: string, closed: 'stdout' | 'stderr') {
  const child = spawn(process.execPath, [main, ...args], { cwd, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  const other = closed === 'stdout' ? child.stderr : child.stdout
  child[closed].destroy()
  const [output, [code]] = await Promise.all([text(other), once(child, 'exit')])
  return { code: code as number | null, output }
}

t.test('a reader that goes away ends a command quietly, with its work done', async (t) => {
  const { folder } = await makeSite(t)
  writeFileSync(
    join(folder, 'gateway.yaml'),
    `listen: { tls: { cert: server.crt, key: server.key } }
cache: { dir: cache }
upstreams: { docker.io: { tls: { verify: false } } }
`,
  )
  writeFileSync(
    join(folder, 'app.tar'),
    await tarWith(craneFiles(await sample(), ['docker.io/app:1'])),
  )
  const config = ['--config', 'gateway.yaml']
  const gone = async (...args: string[]) => unread(t, args, folder, 'stdout')
  const quiet = { code: 0, output: '' }
  t.same(await gone('pki', 'init'), quiet)
  t.same(await gone('pki', 'client', 'x', '--for', 'docker', '--gateway', 'https://g'), quiet)
  t.ok(existsSync(join(folder, 'certs/x-docker/etc/docker/certs.d/g/client.key')))
  t.match(await gone('import', 'app.tar', ...config), { code: 0, output: /^[^\n]*KiB\n$/ })
  const unheard = await unread(t, ['check', ...config], folder, 'stderr')
  t.match(unheard, { code: 0, output: /^listen:/ })
})

t.test('a full disk below stdout is told in a sentence, with the work done', async (t) => {
  const { folder } = await makeSite(t)
  const full = openSync('/dev/full', 'w')
  t.teardown(() => closeSync(full))
  for (const args of [['pki', 'init'], ['schema'], ['--version']]) {
    const stdio = ['ignore', full, 'pipe'] as const
    const child = spawn(process.execPath, [main, ...args], { cwd: folder, stdio: [...stdio] })
    if (child.stderr === null) throw new Error('stderr is no pipe')
    const [output, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
    t.equal(code, 1)
    t.match(output, /^what it says cannot be written: ENOSPC[^\n]*\n$/)
  }
  t.ok(existsSync(join(folder, 'certs/ca.crl')))
})

t.test('what an archive calls its content does not steer the terminal', async (t) => {
  const evil = 'docker.io/app\u001b]0;owned\u0007\u009b2J\u202e\nforged line:1'
  const { content, index } = await sample()
  const folder = t.testdir({
    'gateway.yaml': 'listen: { insecureHttp: true }\ncache: { dir: cache }\n',
    'named.tar': await tarWith(craneFiles(await sample(), [evil])),
    'entry.tar': await tarWith({ [`a\u001b[2J/../b`]: 'x' }),
    'layout.tar': await tarWith(
      layoutFiles(content, [{ digest: index, annotations: refName(evil) }]),
    ),
  })
  for (const more of [[], ['--json']]) {
    const archives = ['named.tar', 'entry.tar', 'layout.tar']
    const { status, stdout, stderr } = await run(
      ['import', ...archives, '--config', 'gateway.yaml', ...more],
      folder,
    )
    t.equal(status, 1)
    t.notMatch(stdout + stderr, steering)
    t.notMatch(stdout + stderr, /^forged/m)
    if (more.length > 0) t.match((JSON.parse(stdout) as { failed: object[] }).failed, { length: 3 })
    else t.match(stderr, String.raw`\u001b]0;owned\u0007\u009b2J\u202e\nforged line`)
  }
  const problem = await run(['import', 'x', '--as', evil, '--config', 'gateway.yaml'], folder)
  t.equal(problem.status, 2)
  t.notMatch(problem.stderr, steering)
  t.equal(problem.stderr.split('\n').length, 2, 'one line')
})

t.test('the log for people shows what a foreign text has in it, and does none of it', async (t) => {
  const folder = t.testdir({ log: '' })
  const file = join(folder, 'log')
  const script = `
    import { openSync } from 'node:fs'
    import { createLog } from ${JSON.stringify(join(import.meta.dirname, '../../src/log/log.ts'))}
    const { logger } = await createLog({ level: 'info', pretty: true }, openSync(${JSON.stringify(file)}, 'w'))
    const evil = 'a\\u001b[2J\\u009b\\nINFO: forged'
    logger.warn({ detail: evil, err: new Error(evil) }, evil)
  `
  const { status } = spawnSync(process.execPath, ['--input-type=module', '-e', script])
  t.equal(status, 0)
  const written = readFileSync(file, 'utf8')
  t.match(written, /WARN[^]*a\\u001b\[2J\\u009b\\nINFO: forged/)
  t.notMatch(written, steering)
})

t.test('the log for people goes on without a reader', async (t) => {
  const folder = t.testdir({
    'gateway.yaml':
      'listen: { insecureHttp: true, host: 127.0.0.1, port: 0 }\nadmin: { port: 0 }\ncache: { dir: cache }\nlog: { pretty: true }\n',
  })
  const args = [main, 'serve', '--config', 'gateway.yaml']
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  const stderr = text(child.stderr)
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    if (String(chunk).includes('listening')) break
  }
  child.stdout.destroy()
  child.kill('SIGTERM')
  const [code] = (await once(child, 'exit')) as [number | null]
  t.equal(code, 0)
  t.equal(await stderr, '')
})
