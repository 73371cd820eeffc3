// Calls of the system that fail, one after the other. Tried on a gateway that is a process of its own.
import t from 'tap'
import { startProgram } from '../e2e/lab/program.ts'
import { storedIn, until } from '../helpers/cache.ts'
import { optionsFor } from '../requirements.ts'
import { assertSound, startProcess } from './process-site.ts'
import { image, layer, layerPath, manifestPath } from './site.ts'

const extra = { ...optionsFor('kill'), timeout: 90_000 }

/** What the kernel answers instead of doing it, each until it is well again. */
const refusals = {
  'fsync fails': 'fsync,fdatasync:error=EIO',
  'write fails': 'pwrite64:error=EIO',
  'write finds no room': 'pwrite64:error=ENOSPC',
  'read fails': 'pread64:error=EIO',
  'rename fails': 'rename:error=EIO',
  'open fails': 'open,openat:error=EACCES',
}

for (const [name, injection] of Object.entries(refusals)) {
  t.test(`the disk: ${name}`, { ...extra, ...optionsFor('injection') }, async (t) => {
    const site = await startProcess(t)
    const [calls = ''] = injection.split(':')
    // Some is stored before, to be read while it cannot be.
    t.equal(await site.pull(layerPath), layer.digest)
    await until(() => storedIn(site.dir).includes(layer.digest), 'the layer is stored')
    const strace = await startProgram(t, {
      command: 'strace',
      args: ['-f', '-p', `${site.gateway().program.pid}`, '-e', `trace=${calls}`].concat([
        '-e',
        `inject=${injection}`,
      ]),
      ready: ({ output }) => output().includes('attached'),
    })
    t.equal(typeof (await site.pull(manifestPath)), 'string', 'a tag is served')
    for (const digest of image.blobs.keys()) {
      t.equal(await site.pull(`/v2/app/blobs/${digest}`), digest, 'every blob is served')
    }
    t.match(strace.output(), /INJECTED/, 'it has been met')
    await strace.stop('SIGINT')
    await assertSound(t, site)
  })
}
