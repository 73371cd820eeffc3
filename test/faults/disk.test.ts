// Faults of the disk itself: a real one of a few megabytes, mounted in a namespace of each row's own.
import { join } from 'node:path'
import t from 'tap'
import { optionsFor } from '../requirements.ts'

const script = 'mount -t tmpfs -o "$2" none "$1" && TMPDIR="$1" exec "$3" "$4" "$5"'
const child = join(import.meta.dirname, 'disk.ts')

const disks = {
  'a disk that is full': 'size=8m',
  'a disk without inodes': 'size=32m,nr_inodes=300',
  'a disk that is read-only': 'size=32m',
}

for (const [name, mount] of Object.entries(disks)) {
  t.test(name, { ...optionsFor('disk'), timeout: 90_000 }, async (t) => {
    const args = ['sh', t.testdir(), mount, process.execPath, child, name]
    await t.spawn('unshare', ['--mount', 'sh', '-c', script, ...args])
  })
}
