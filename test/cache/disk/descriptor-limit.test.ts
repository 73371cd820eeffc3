// How many idle files stay open follows from the limit of the process, and the start says so.
import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import t from 'tap'
import { optionsFor } from '../../requirements.ts'

const module = pathToFileURL(
  join(import.meta.dirname, '../../../src/cache/disk/descriptor-limit.ts'),
).href
const script = `
import { reportDescriptorLimit } from '${module}'
const told = []
const log = { info: () => told.push('info'), warn: () => told.push('warn') }
console.log(JSON.stringify([reportDescriptorLimit(log), ...told]))`

const cases: [limit: number, openFiles: number, level: string][] = [
  [80, 10, 'warn'],
  [400, 50, 'warn'],
  [1024, 128, 'info'],
]
for (const [limit, openFiles, level] of cases) {
  t.test(
    `with ${limit} descriptors ${openFiles} files stay open`,
    optionsFor('storing'),
    async (t) => {
      const command = `ulimit -n ${limit}; exec "$0" --input-type=module -e "$1"`
      const { stdout, stderr } = spawnSync('sh', ['-c', command, process.execPath, script], {
        encoding: 'utf8',
        timeout: 20_000,
        env: { PATH: process.env['PATH'] },
      })
      t.equal(stdout.trim(), JSON.stringify([openFiles, level]), stderr)
    },
  )
}
