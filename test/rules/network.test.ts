// Which addresses are one client.
import t from 'tap'
import { networkOf } from '../../src/rules/network.ts'

const networks: [address: string, network: string][] = [
  ['192.0.2.1', '192.0.2.1'],
  ['::ffff:192.0.2.1', '192.0.2.1'],
  ['::FFFF:192.0.2.1', '192.0.2.1'],
  ['2001:db8:0:1::1', '2001:db8:0:1'],
  ['2001:0db8:0000:0001:ffff::', '2001:db8:0:1'],
  ['2001:db8::1', '2001:db8:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['::1', '0:0:0:0'],
  ['', ''],
]

for (const [address, network] of networks) {
  t.test(`${address} is of ${network}`, async (t) => t.equal(networkOf(address), network))
}
