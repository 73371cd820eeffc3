// A real disk of three megabytes, which only this test sees: a mount in a namespace of its own.
import { join } from 'node:path'
import t from 'tap'
import { optionsFor } from '../requirements.ts'

const script = 'mount -t tmpfs -o size=3m none "$1" && exec "$2" "$3" "$1"'
const child = join(import.meta.dirname, 'full-disk.ts')

t.test('on a small disk', optionsFor('disk'), async (t) => {
  const call = ['sh', '-c', script, 'sh', t.testdir(), process.execPath, child]
  await t.spawn('unshare', ['--mount', ...call])
})
