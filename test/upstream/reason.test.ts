import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { messageFor, reasons } from '../../src/upstream/reason.ts'

t.test('every reason is in the reference', async (t) => {
  const file = join(import.meta.dirname, '../../docs/reference/errors.md')
  const [, section = ''] = readFileSync(file, 'utf8').split('## Why an upstream cannot be asked')
  for (const reason of reasons) {
    t.match(section, `\`${reason}\``)
  }
})

t.test('a message names the keys to look at', async (t) => {
  const at = 'upstreams.quay.io'
  t.equal(
    messageFor('unknown_ca', 'the upstream quay.io', at),
    'the upstream quay.io has a certificate of an authority that is not trusted; check upstreams.quay.io.tls.ca',
  )
  t.equal(
    messageFor('truncated', 'the upstream quay.io', at),
    'the upstream quay.io sent less than it announced',
  )
})
