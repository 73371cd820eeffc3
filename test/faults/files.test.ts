// Faults of what lies on the disk, of the clock, and of files that are replaced while they are in use.
import {
  appendFileSync,
  closeSync,
  globSync,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { hexOf } from '../../src/oci/digest.ts'
import { issueCertificate } from '../../src/pki/authority.ts'
import { until, storedIn } from '../helpers/cache.ts'
import { limitFiles } from '../helpers/limits.ts'
import { testPki } from '../helpers/tls.ts'
import { optionsFor } from '../requirements.ts'
import { fault, layer, layerPath, manifestPath } from './site.ts'

const whole = { status: 200, bytes: layer.bytes.length, isWhole: true, digest: layer.digest }

/** What happens to the file of the layer. */
const damages: Record<string, (file: string) => void> = {
  truncated: (file) => truncateSync(file, 1000),
  empty: (file) => truncateSync(file, 0),
  'longer than it was': (file) => appendFileSync(file, 'more'),
  altered: (file) => alter(file, layer.bytes.length / 2),
  'altered under the same size and time': (file) => {
    const { atime, mtime } = statSync(file)
    alter(file, 1000)
    utimesSync(file, atime, mtime)
  },
  deleted: (file) => rmSync(file),
  'replaced by a folder': (file) => {
    rmSync(file)
    mkdirSync(join(file, 'folder'), { recursive: true })
  },
  unreadable: (file) => {
    rmSync(file)
    symlinkSync(file, file)
  },
  'in a folder that is a file': (file) => {
    const folder = join(file, '..')
    rmSync(folder, { recursive: true })
    writeFileSync(folder, 'no folder')
  },
}

for (const [name, damage] of Object.entries(damages)) {
  fault(`a cache file that is ${name}`, async (t, { pull, dir, restart }) => {
    t.same(await pull(layerPath), whole)
    await until(() => storedIn(dir).includes(layer.digest))
    const hex = hexOf(layer.digest)
    const file = join(dir, 'blobs/sha256', hex.slice(0, 2), hex)
    damage(file)
    const running = await pull(layerPath)
    if (running.isWhole) t.same(running, whole, 'while it runs')
    await restart()
    const restarted = await pull(layerPath)
    if (restarted.isWhole) t.same(restarted, whole, 'after a start')
    t.same(await pull(layerPath), whole, 'and once it was noticed')
    for (const odd of globSync('blobs/*/*.set-aside-*', { cwd: dir })) rmSync(join(dir, odd))
  })
}

function alter(file: string, offset: number): void {
  const fd = openSync(file, 'r+')
  writeSync(fd, 'altered', offset)
  closeSync(fd)
}

fault(
  'a disk that takes no more of a file',
  async (t, { pull, dir }) => {
    const raise = limitFiles(500_000)
    t.teardown(raise)
    t.same(await pull(layerPath), whole, 'streamed all the same')
    t.notOk(storedIn(dir).includes(layer.digest), 'and not kept')
    raise()
  },
  optionsFor('storing'),
)

fault('a clock that jumps', async (t, { pull, send }) => {
  const hour = 3_600_000
  const real = Date.now
  t.teardown(() => (Date.now = real))
  for (const jump of [2 * hour, 0, 10 * hour, 0]) {
    Date.now = () => real() + jump
    t.equal((await send(manifestPath)).status, 200, `${jump / hour} hours`)
    t.same(await pull(layerPath), whole)
  }
})

fault('certificate files that are replaced one after the other', async (t, site) => {
  const { ca } = await testPki()
  for (const order of [
    ['crt', 'key'],
    ['key', 'crt'],
  ]) {
    const renewed = await issueCertificate(ca, {
      profile: 'server',
      commonName: 'localhost',
      dnsNames: ['localhost'],
    })
    const texts: Record<string, string> = { crt: renewed.certificatePem, key: renewed.keyPem }
    for (const [turn, kind] of order.entries()) {
      writeFileSync(join(site.folder, `server.${kind}`), texts[kind] ?? '')
      t.equal(await site.reload(), turn === 1, `after the ${kind}`)
      t.equal((await site.send(manifestPath)).status, 200)
    }
  }
})
