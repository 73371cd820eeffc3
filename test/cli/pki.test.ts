// `portcullis pki` and its scripts as processes: output, files, and what is refused.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { command } from '../../src/cli/pki.ts'
import { found } from '../../src/pki/init.ts'
import { runCommand } from '../helpers/command.ts'
import { issueClient, makeFolder, openssl, verify } from '../helpers/pki.ts'
import { optionsFor } from '../requirements.ts'

const root = join(import.meta.dirname, '../..')
const main = join(root, 'src/main.ts')

const pki = (cwd: string, args: string[]) => runCommand(['pki', ...args], { cwd })

t.test(
  'from nothing to a node that can be handed over, by the scripts',
  optionsFor('pki'),
  async (t) => {
    const folder = t.testdir({})
    const dir = join(folder, 'certs')
    const script = (name: string, ...args: string[]) =>
      spawnSync(join(root, 'scripts', name), [...args, '--dir', dir], {
        cwd: folder,
        encoding: 'utf8',
      })
    t.match(script('init-ca'), {
      status: 0,
      stderr: '',
      stdout: 'certs/ca.key\ncerts/ca.crt\ncerts/ca.crl\n',
    })
    t.match(script('issue-server-cert', 'gateway.local', '--ip', '192.0.2.1,::1'), {
      status: 0,
      stderr: '',
      stdout:
        /certs\/gateway\.local\.crt\n {2}CN=gateway\.local, gateway\.local, 192\.0\.2\.1, ::1,/,
    })
    const handOver = '--for containerd --tar --gateway https://gateway.local:5443'.split(' ')
    const registries = ['--registries', 'docker.io, quay.io']
    const client = script('issue-client-cert', 'edge-1', ...handOver, ...registries)
    t.match(client, { status: 0, stderr: '' })
    t.match(client.stdout, /tar -xf edge-1-containerd\.tar -C \/\n/)
    t.match(
      client.stdout,
      /\n {2}ctr images pull --hosts-dir \/etc\/containerd\/certs\.d docker\.io\//,
    )
    const archive = join(dir, 'edge-1-containerd.tar')
    t.equal(statSync(archive).mode & 0o777, 0o600, 'it holds a key')
    const node = join(folder, 'node')
    mkdirSync(node)
    t.equal(spawnSync('tar', ['-xf', archive, '-C', node]).status, 0)
    t.equal(
      readFileSync(join(node, 'etc/containerd/portcullis/edge-1.key'), 'utf8'),
      readFileSync(join(dir, 'edge-1.key'), 'utf8'),
    )
    t.equal(statSync(join(node, 'etc/containerd/portcullis/edge-1.key')).mode & 0o777, 0o600)
    t.ok(existsSync(join(node, 'etc/containerd/certs.d/quay.io/hosts.toml')))
    t.equal(verify(dir, 'edge-1'), 'OK')
    t.match(script('revoke-cert', 'edge-1', '--reason', 'keyCompromise'), {
      status: 0,
      stderr: '',
      stdout: /^revoked edge-1, serial [0-9A-F]+, until .*\ncerts\/ca\.crl\n/,
    })
    t.equal(verify(dir, 'edge-1'), 'certificate revoked')
  },
)

t.test('list: a table, and JSON for programs', async (t) => {
  const dir = await makeFolder(t)
  await issueClient(dir, 'edge-1', { days: 40 })
  await issueClient(dir, 'edge-1', { days: 20, force: true })
  const { stdout } = await pki(dir, ['list', '--dir', '.'])
  t.match(
    stdout,
    /^NAME +KIND +STATUS +DAYS LEFT +UNTIL +SERIAL\nedge-1 +client +valid +19 .*\nca\.crl +crl .*\nca +root /,
  )
  t.equal(stdout.split('\n').length, 5)
  const all = JSON.parse(
    (await pki(dir, ['list', '--dir', '.', '--all', '--json'])).stdout,
  ) as object[]
  t.match(all, [
    { name: 'edge-1', kind: 'client', status: 'valid', daysLeft: 19, subject: 'CN=edge-1' },
    { name: 'edge-1', status: 'replaced', daysLeft: 39 },
    { name: 'ca.crl', kind: 'crl', daysLeft: 89 },
    { name: 'ca', kind: 'root' },
  ])
})

t.test(
  'the gateway takes what the guide tells it to, with an intermediate and without',
  async (t) => {
    for (const intermediate of [false, true]) {
      const dir = await makeFolder(t, intermediate)
      await pki(dir, ['server', 'gateway.local', '--dir', '.'])
      const clientCa = intermediate ? '[ca.crt, issuing.crt]' : '[ca.crt]'
      const files = `cert: gateway.local.crt, key: gateway.local.key, clientCa: ${clientCa}, crl: [ca.crl]`
      writeFileSync(
        join(dir, 'gateway.yaml'),
        `listen: { tls: { ${files}, clientAuth: required } }\nupstreams: { docker.io: {} }\n`,
      )
      const args = [main, 'check', '--config', join(dir, 'gateway.yaml')]
      t.match(spawnSync(process.execPath, args, { encoding: 'utf8' }), { status: 0, stderr: '' })
    }
  },
)

t.test('a problem: exit code 2, told on standard error', async (t) => {
  const dir = await makeFolder(t)
  const told = { status: 2, stdout: '', stderr: 'NAME: "a/b" cannot name files: ' }
  t.match(await pki(dir, ['client', 'a/b', '--dir', '.']), told)
  t.match(await pki(dir, ['client', 'x', '--bogus']), {
    status: 2,
    stdout: '',
    stderr: /--bogus.*--help/,
  })
})

t.test('renew, with the files for the client anew', async (t) => {
  const dir = await makeFolder(t)
  await issueClient(dir, 'edge-1', { days: 3 })
  const handOver = ['--for', 'docker', '--gateway', 'https://g:1']
  const renewed = await pki(dir, ['renew', 'edge-1', '--dir', '.', '--days', '9', ...handOver])
  t.match(renewed, { status: 0, stderr: '' })
  const handed = readFileSync(join(dir, 'edge-1-docker/etc/docker/certs.d/g:1/client.cert'), 'utf8')
  t.equal(handed, readFileSync(join(dir, 'edge-1.crt'), 'utf8'))
  t.match(
    (await pki(dir, ['crl', '--dir', '.', '--days', '5'])).stdout,
    /^ca\.crl\n {2}sign it again/,
  )
})

t.test('a request on the standard input, named by itself', optionsFor('pki'), async (t) => {
  const dir = await makeFolder(t)
  const made = openssl([
    'req',
    '-new',
    '-newkey',
    'ed25519',
    '-nodes',
    '-keyout',
    join(dir, 'node.pem'),
    '-subj',
    '/CN=node-7',
    '-addext',
    'subjectAltName=DNS:node-7.local',
  ])
  const args = ['client', '--csr', '-', '--dir', '.', '--for', 'podman', '--gateway', 'https://g']
  const signed = spawnSync(process.execPath, [main, 'pki', ...args], {
    cwd: dir,
    encoding: 'utf8',
    input: made.stdout,
  })
  t.match(signed, { status: 0, stderr: '' })
  t.match(signed.stdout, /^node-7\.crt\n {2}CN=node-7, node-7\.local, until/)
  t.match(
    signed.stdout,
    /# put the key of the request at \/etc\/containers\/certs\.d\/g\/client\.key/,
  )
  t.notOk(existsSync(join(dir, 'node-7.key')))
})

t.test(
  'passphrases: of the authority, of a key, of a browser file',
  optionsFor('pkcs12'),
  async (t) => {
    const folder = t.testdir({ ca: 'for the CA\n', key: 'for the key\n', empty: '\n' })
    const args = (...more: string[]) => [...more, '--ca-passphrase-file', 'ca']
    t.equal((await pki(folder, args('init'))).status, 0)
    t.match(await pki(folder, ['client', 'edge-1']), {
      status: 2,
      stderr: /^ca\.key: is encrypted/,
    })
    t.equal((await pki(folder, args('client', 'edge-1', '--passphrase-file', 'key'))).status, 0)
    t.match(readFileSync(join(folder, 'certs/edge-1.key'), 'utf8'), /BEGIN ENCRYPTED PRIVATE KEY/)
    const browser = ['--for', 'browser', '--gateway', 'https://g:5443']
    t.equal((await pki(folder, args('client', 'edith', ...browser))).status, 0)
    const at = (file: string) => join(folder, 'certs/edith-browser', file)
    const passphrase = readFileSync(at('edith.passphrase'), 'utf8').trim()
    t.match(passphrase, /^[\w-]{20}$/)
    const read = ['pkcs12', '-in', at('edith.p12'), '-noout', '-passin', `pass:${passphrase}`]
    t.equal(openssl(read).status, 0)
    t.match(await pki(folder, args('client', 'x', '--passphrase-file', 'empty')), {
      status: 2,
      stderr: /^--passphrase-file: empty is empty/,
    })
  },
)

t.test('what is refused: one sentence, nothing written', async (t) => {
  const folder = t.testdir({ 'bad.csr': 'nonsense', file: '' })
  const dir = join(folder, 'certs')
  await found({ dir }, { commonName: 'CA', intermediate: false, algorithm: 'P-256', days: 30 })
  await issueClient(dir, 'edge-1')
  const before = readAll(dir)
  const gateway = ['--gateway', 'https://g:5443']
  const cases: [args: string[], told: RegExp][] = [
    [[], /^pki: say what to do: init, server/],
    [['bogus'], /^bogus: is no command; there are init, server/],
    [['init'], /^--dir: certs has an authority already/],
    [['init', '--dir', 'new', '--algorithm', 'P-224'], /^--algorithm: there is no "P-224"/],
    [['init', '--dir', 'new', '--name', 'a\nb'], /^--name: has a control character/],
    [['init', '--dir', 'new', '--days', '0'], /^--days: must be a whole number of days/],
    [['client'], /^NAME: is missing/],
    [['client', 'a', 'b'], /^NAME: only one/],
    [['client', 'a/b'], /^NAME: "a\/b" cannot name files/],
    [['client', '../x'], /^NAME: "..\/x" cannot name files/],
    [['client', 'a\u0007b'], /^NAME: "a\\u0007b" cannot name files/],
    [['client', ''], /^NAME: "" cannot name files/],
    [['client', 'x'.repeat(65)], /^NAME: .* at most 64/],
    [['client', 'ca'], /^NAME: "ca" is taken/],
    [['client', 'edge-1'], /^NAME: certs\/edge-1.crt exists: "pki renew edge-1" .* --force/],
    [['client', 'x', '--days', '0'], /^--days: must be a whole number/],
    [['client', 'x', '--days', 'many'], /^--days: must be a whole number/],
    [['client', 'x', '--days', '31'], /^--days: 31 is after the end of the issuer/],
    [['client', 'x', '--dns', 'a b'], /^--dns: "a b" is no DNS name/],
    [['client', 'x', '--ip', '1.2.3'], /^--ip: "1.2.3" is no IP address/],
    [['client', 'x', '--spiffe', 'edge'], /^--spiffe: "edge" is no absolute URI/],
    [['client', 'x', '--csr', 'bad.csr'], /^--csr: is no certificate signing request/],
    [['client', 'x', '--csr', 'none.csr'], /^--csr: cannot read none.csr: ENOENT/],
    [['client', 'x', '--for', 'windows', ...gateway], /^--for: there is no "windows"/],
    [['client', 'x', '--for', 'docker'], /^--gateway: is missing/],
    [['client', 'x', ...gateway], /^--for: is missing/],
    [['client', 'x', '--for', 'docker', '--gateway', 'http://g'], /^--gateway: "http:\/\/g" must/],
    [
      ['client', 'x', '--for', 'podman', ...gateway, '--registries', 'a/b'],
      /^--registries: "a\/b" is no registry/,
    ],
    [['client', 'x', '--for', 'browser', ...gateway, '--csr', 'bad.csr'], /^--csr: leaves the key/],
    [
      ['client', 'x', '--for', 'docker', ...gateway, '--passphrase-file', 'file'],
      /^--passphrase-file: /,
    ],
    [['client', 'x', '--dir', 'nowhere'], /^--dir: nowhere has no authority/],
    [['client', 'x', '--dir', 'file'], /^--dir: cannot write to file: it is no folder/],
    [['init', '--dir', 'file'], /^--dir: cannot write to file: it is no folder/],
    [['init', '--dir', 'file/x'], /^--dir: cannot write to file\/x: it is no folder/],
    [['init', '--dir', '/proc/x'], /^--dir: cannot write to \/proc\/x: /],
    [['server', '*.gateway.local'], /^NAME: "\*.gateway.local" cannot name files/],
    [['server', 'x..y'], /^NAME: .* is no DNS name/],
    [['renew', 'edge-2'], /^NAME: there is no edge-2.crt/],
    [['renew', 'ca', '--new-key'], /^NAME: an authority with a new key is another one/],
    [['revoke', 'edge-2'], /^NAME: nothing was issued as "edge-2"/],
    [['revoke', 'ca'], /^NAME: a root is in no list/],
    [['revoke', '--serial', 'AB'], /^--serial: nothing was issued as "AB"/],
    [['revoke', 'edge-1', '--reason', 'dislike'], /^--reason: there is no "dislike"/],
    [['crl', '--days', '0'], /^--days: must be a whole number/],
    [['list', '--dir', 'nowhere'], /^--dir: nowhere has no authority/],
    [['client', 'x', '--bogus'], /--bogus/],
  ]
  const home = process.cwd()
  t.teardown(() => process.chdir(home))
  process.chdir(folder)
  for (const [args, told] of cases) {
    // In this process, for speed: main.ts makes exit code 2 and a line on stderr of each problem.
    const problem = await command.run(args).catch((error: Error) => error.message)
    t.match(problem, told, args.join(' '))
    t.notMatch(problem, '\n', 'one line')
  }
  t.same(readAll(dir), before)
  t.same(readdirSync(folder).sort(), ['bad.csr', 'certs', 'file'])
})

t.test('help says every option', async (t) => {
  const folder = t.testdir({})
  t.match(await pki(folder, ['--help']), { status: 0, stdout: /pki client NAME[^]*pki list/ })
  const help = await pki(folder, ['client', '--help'])
  t.match(help, { status: 0, stdout: /^portcullis pki client NAME/ })
  for (const option of ['for', 'gateway', 'registries', 'tar', 'csr', 'spiffe', 'force', 'dir']) {
    t.ok(help.stdout.includes(`--${option}`), option)
  }
  const script = spawnSync(join(root, 'scripts/issue-client-cert'), ['--help'], {
    encoding: 'utf8',
  })
  t.equal(script.stdout, help.stdout)
})

function readAll(dir: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(dir).map((file) => [file, readFileSync(join(dir, file), 'utf8')]),
  )
}
