// Bundles that carry further: only what the other side lacks, signed, and in pieces.
import { spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { found } from '../../../src/pki/init.ts'
import { readSignKey, readVerifyKey } from '../../../src/transfer/bundle/signature.ts'
import { exportImages } from '../../../src/transfer/export.ts'
import { parseImage } from '../../../src/transfer/image-name.ts'
import { importAll } from '../../../src/transfer/import.ts'
import {
  damaged,
  filesOf,
  layoutFiles,
  refName,
  sample,
  tarWith,
  type Files,
} from '../../helpers/archives.ts'
import { inspectCache } from '../../helpers/cache-folder.ts'
import { runCommand } from '../../helpers/command.ts'
import { issueClient } from '../../helpers/pki.ts'
import { problemsOf } from '../../helpers/problems.ts'

const one = await sample('bundle one')
const two = await sample('bundle two')
const naming = { upstreams: ['docker.io'], defaultUpstream: 'docker.io' }
const listed = 'portcullis/bundle.json'
const signature = 'portcullis/bundle.sig'

/** A cache that holds both images, a key pair, and ways out of it and into others. */
async function setUp(t: Test) {
  const folder = t.testdir({})
  const dir = join(folder, 'cache')
  const into = (path: string, cache: string, verifyKey?: string) =>
    importAll([path], {
      dir: join(folder, cache),
      naming,
      ...(verifyKey !== undefined && { verifyKey: readVerifyKey(verifyKey) }),
    })
  for (const [name, { content, index }] of Object.entries({ one, two })) {
    const layout = layoutFiles(content, [{ digest: index, annotations: refName(`${name}:1`) }])
    writeFileSync(join(folder, `${name}-source.tar`), await tarWith(layout))
    t.same((await into(join(folder, `${name}-source.tar`), 'cache')).failed, [])
  }
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const signKey = join(folder, 'sign.key')
  const verifyKey = join(folder, 'verify.pub')
  writeFileSync(signKey, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  writeFileSync(verifyKey, publicKey.export({ type: 'spki', format: 'pem' }))
  const out = async (
    file: string,
    names: string[],
    options: { since?: string; signKey?: string; pieceSize?: number } = {},
  ) => {
    const { signKey, ...others } = options
    const summary = await exportImages(
      names.map((name) => parseImage(name, naming)),
      {
        dir,
        file: join(folder, file),
        platform: 'linux/amd64',
        ...others,
        ...(signKey !== undefined && { signKey: readSignKey(signKey) }),
      },
    )
    t.same(summary.failed, [])
    return { ...summary, path: join(folder, file) }
  }
  return { folder, dir, into, out, signKey, verifyKey }
}

t.test('--since: only what the other side lacks', async (t) => {
  const { folder, dir, into, out } = await setUp(t)
  const first = await out('first.tar', ['one:1'])
  const second = await out('second.tar', ['one:1', 'two:1'], { since: first.path })
  t.ok(second.omitted > 200_000)
  const blobs = Object.keys(await filesOf(second.path))
  for (const digest of one.content.blobs.keys()) {
    if (two.content.blobs.has(digest)) continue
    t.notOk(blobs.includes(`blobs/${digest.replace(':', '/')}`), 'what it has is not in it')
  }
  const third = await out('third.tar', ['one:1', 'two:1'], { since: second.path })
  t.ok(statSync(third.path).size < 60_000, 'a chain: nothing new')

  const early = await into(second.path, 'early')
  t.match(early, {
    imported: [],
    failed: [
      { entry: /^blobs\//, message: /import the bundle first that this one was made since/ },
    ],
  })
  t.same(inspectCache(join(folder, 'early')).stored, [])

  t.same((await into(first.path, 'other')).failed, [])
  t.same((await into(second.path, 'other')).failed, [])
  t.same((await into(third.path, 'other')).failed, [])
  const { stored, tags } = inspectCache(join(folder, 'other'))
  const source = inspectCache(dir)
  t.same(tags, source.tags)
  t.same(stored, source.stored)
})

t.test('a signed bundle is taken as it is, by a public key and by a certificate', async (t) => {
  const { folder, into, out, signKey, verifyKey } = await setUp(t)
  const { path } = await out('signed.tar', ['one:1'], { signKey })
  t.same((await into(path, 'a', verifyKey)).failed, [])
  t.ok(inspectCache(join(folder, 'a')).stored.length > 5)
  t.same((await into(path, 'b')).failed, [], 'whoever asks for no signature takes it, too')

  const files = await filesOf(path)
  for (const [name, bytes] of Object.entries({ list: files[listed], sig: files[signature] })) {
    writeFileSync(join(folder, name), bytes ?? '')
  }
  const asked = 'pkeyutl -verify -rawin -pubin -inkey verify.pub -in list -sigfile sig'.split(' ')
  const openssl = spawnSync('openssl', asked, { cwd: folder })
  t.equal(openssl.status, 0, openssl.stderr.toString())

  const certs = join(folder, 'certs')
  await found({ dir: certs }, { commonName: 'CA', intermediate: false, algorithm: 'P-256' })
  await issueClient(certs, 'exporter')
  const byCertificate = await out('certified.tar', ['one:1'], {
    signKey: join(certs, 'exporter.key'),
  })
  t.same((await into(byCertificate.path, 'c', join(certs, 'exporter.crt'))).failed, [])
  t.match((await into(path, 'd', join(certs, 'exporter.crt'))).failed, [{ entry: signature }])

  const since = await out('signed-since.tar', ['one:1', 'two:1'], { signKey, since: path })
  t.same((await into(since.path, 'a', verifyKey)).failed, [])
})

t.test('what lacks, adds or alters anything is named, and nothing of it is kept', async (t) => {
  const { folder, into, out, signKey, verifyKey } = await setUp(t)
  const { path } = await out('signed.tar', ['one:1', 'two:1'], { signKey })
  const files = await filesOf(path)
  const { digest } = one.manifest.config
  const blob = `blobs/${digest.replace(':', '/')}`
  const list = JSON.parse(files[listed]?.toString() ?? '') as { files: Record<string, unknown> }
  const without = ({ [blob]: _left, ...others }: Files) => others
  const other = join(folder, 'other.key')
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  writeFileSync(other, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const elsewhere = await filesOf(
    (await out('else.tar', ['one:1', 'two:1'], { signKey: other })).path,
  )

  const cases: Record<string, { files: Files; entry: string; message: RegExp }> = {
    lacks: { files: without(files), entry: blob, message: /missing/ },
    alters: {
      files: { ...files, [blob]: damaged(files[blob] ?? Buffer.alloc(0)) },
      entry: blob,
      message: /does not hash to sha256:/,
    },
    renames: {
      files: { ...files, 'index.json': Buffer.from('{"manifests":[]}') },
      entry: 'index.json',
      message: /bytes, but the list/,
    },
    adds: {
      files: { ...files, 'blobs/sha256/extra': Buffer.from('x') },
      entry: 'blobs/sha256/extra',
      message: /is not on the list/,
    },
    'another list': {
      files: { ...files, [listed]: Buffer.from(JSON.stringify({ ...list, version: 1 })) },
      entry: signature,
      message: /not a signature by that key/,
    },
    'another signature': {
      files: { ...files, [signature]: elsewhere[signature] ?? '' },
      entry: signature,
      message: /not a signature by that key/,
    },
    'no signature': {
      files: Object.fromEntries(Object.entries(files).filter(([name]) => name !== signature)),
      entry: signature,
      message: /is not signed/,
    },
    'no list': {
      files: Object.fromEntries(
        Object.entries(files).filter(([name]) => !name.startsWith('portcullis/')),
      ),
      entry: signature,
      message: /is not signed/,
    },
  }
  for (const [name, { files, entry, message }] of Object.entries(cases)) {
    const altered = join(folder, 'altered.tar')
    writeFileSync(altered, await tarWith(files))
    const { imported, failed } = await into(altered, 'refusing', verifyKey)
    t.same(imported, [], name)
    t.match(failed, [{ entry, message }], name)
    t.same(inspectCache(join(folder, 'refusing')).stored, [], `${name}: nothing is kept`)
  }
})

t.test('pieces: in any order, from a folder; what is missing or wrong is named', async (t) => {
  const { folder, into, out, signKey, verifyKey } = await setUp(t)
  const whole = await out('whole.tar', ['one:1', 'two:1'], { signKey })
  await out('out.tar', ['one:1', 'two:1'], { signKey, pieceSize: 100_000 })
  const names = readdirSync(folder).filter((name) => name.startsWith('out.tar'))
  const pieces = names.filter((name) => /\.\d{3}$/.test(name)).sort()
  t.ok(pieces.length > 3)
  t.notOk(existsSync(join(folder, 'out.tar')))
  const joined = Buffer.concat(pieces.map((name) => readFileSync(join(folder, name))))
  t.ok(joined.equals(readFileSync(whole.path)), 'together they are the bundle')
  const sums = spawnSync('sha256sum', ['-c', '--quiet', 'out.tar.pieces'], { cwd: folder })
  t.equal(sums.status, 0)

  const stick = join(folder, 'stick')
  mkdirSync(stick)
  for (const name of [...names].reverse()) copyFileSync(join(folder, name), join(stick, name))
  t.same((await into(stick, 'a', verifyKey)).failed, [])
  t.equal((await into(join(stick, 'out.tar.pieces'), 'b')).imported.length, 2)
  t.equal((await into(join(stick, 'out.tar.002'), 'c')).imported.length, 2)

  const [first = '', second = '', third = ''] = pieces
  rmSync(join(stick, second))
  rmSync(join(stick, third))
  t.match(await into(stick, 'd'), {
    imported: [],
    failed: [
      { entry: `${second}, ${third}`, message: /missing: out\.tar\.pieces lists \d+ pieces/ },
    ],
  })
  for (const name of [second, third]) copyFileSync(join(folder, name), join(stick, name))
  writeFileSync(join(stick, first), damaged(readFileSync(join(stick, first))))
  t.match((await into(stick, 'e')).failed, [{ entry: first, message: /copy it again/ }])
  rmSync(join(stick, 'out.tar.pieces'))
  t.match((await into(stick, 'f')).failed, [{ entry: 'out.tar.pieces', message: /is missing/ }])
  writeFileSync(join(stick, 'out.tar.pieces'), 'x\n')
  t.match((await into(stick, 'g')).failed, [{ entry: 'out.tar.pieces', message: /is no list/ }])
  const since = await out('since.tar', ['one:1', 'two:1'], { since: join(folder, 'out.tar.001') })
  t.ok(since.omitted > 200_000, 'pieces are a bundle to leave out as well')
})

t.test('keys and options that cannot be: exit code 2', async (t) => {
  const { folder, signKey, verifyKey } = await setUp(t)
  const told = async (work: () => unknown) =>
    (await problemsOf(Promise.resolve().then(work))).map(
      ({ path, message }) => `${path}: ${message}`,
    )
  t.match(await told(() => readSignKey(join(folder, 'none'))), [/--sign-key: .*ENOENT/])
  t.match(await told(() => readSignKey(verifyKey)), [/has no usable PEM private key/])
  t.match(await told(() => readVerifyKey(signKey)), [/--verify-key: .*no PEM public key/])
  const { privateKey } = generateKeyPairSync('x25519')
  const odd = join(folder, 'odd.key')
  writeFileSync(odd, privateKey.export({ type: 'pkcs8', format: 'pem' }))
  t.match(await told(() => readSignKey(odd)), [/kind x25519: use Ed25519, EC or RSA/])

  writeFileSync(
    join(folder, 'gateway.yaml'),
    'listen: { insecureHttp: true }\ncache: { dir: cache }\nupstreams: { docker.io: {} }\ndefaultUpstream: docker.io\n',
  )
  const run = (...args: string[]) =>
    runCommand(args, { cwd: folder, env: { PORTCULLIS_CONFIG: 'gateway.yaml' } })
  for (const size of ['4', '1KiB', 'big']) {
    const { status, stderr } = await run('export', 'one:1', '-o', 'x.tar', '--piece-size', size)
    t.match({ status, stderr }, { status: 2, stderr: /^--piece-size: must be a size/ })
  }
  const since = await run('export', 'one:1', '-o', 'x.tar', '--since', 'gateway.yaml')
  t.match(since, { status: 2, stderr: /^--since: / })
  const good = await run('export', 'one:1', '-o', 'x.tar', '--sign-key', 'sign.key')
  t.match(good, { status: 0 })
  const refused = await run('import', 'one-source.tar', '--verify-key', 'verify.pub')
  t.match(refused, { status: 1, stderr: /portcullis\/bundle\.sig: is missing/ })
  t.match(await run('import', 'x.tar', '--verify-key', 'verify.pub'), { status: 0 })
})
