import t from 'tap'
import { together } from '../../../src/admin/status/told.ts'

const at = '2026-11-26T12:00:00.000Z'

t.test('what happened at one moment stays in its order', async (t) => {
  const [first, second] = [
    { at, name: 'first' },
    { at, name: 'second' },
  ]
  const later = { at: '2026-11-26T12:00:00.001Z', name: 'later' }
  t.same(together.refusals([[first, second]]), [first, second])
  t.same(together.evictions([[first, second], [later]]), [later, first, second])
})

t.test('an identity has its first ten addresses, at however many workers', async (t) => {
  const session = (from: number) => ({
    identity: 'CN=edge-1',
    how: 'certificate' as const,
    connections: 8,
    addresses: Array.from({ length: 8 }, (_, index) => `192.0.2.${from + index}`),
  })
  const [told] = together.sessions([[session(1)], [session(5)], [session(20)]])
  t.match(told, { connections: 24 })
  t.same(
    told?.addresses,
    Array.from({ length: 10 }, (_, index) => `192.0.2.${index + 1}`),
  )
})
