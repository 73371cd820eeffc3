// The gateways on the way: told to the next one, and looked at for oneself.
import t from 'tap'
import { gatewaysIn, newPseudonym, viaHeader } from '../../src/oci/via.ts'

const own = newPseudonym()
// Three behind each other, of workers and replicas, and some before them.
const others = Array.from({ length: 15 }, newPseudonym)
const loop = { code: 'LOOP_DETECTED' }

t.test('what one says, another reads', async (t) => {
  t.same(gatewaysIn(viaHeader(others), own), others)
  t.same(gatewaysIn(`1.1 proxy.example (squid), ${viaHeader(others.slice(0, 1))}`, own), [
    others[0],
  ])
  t.same(gatewaysIn('1.1 cache, 1.0 fred', own), [], 'what is no gateway is of no interest')
})

t.test('a loop, and a way that is too long', async (t) => {
  t.throws(() => gatewaysIn(viaHeader([...others, own]), own), loop)
  t.throws(() => gatewaysIn(viaHeader([...others, newPseudonym()]), own), loop)
})
