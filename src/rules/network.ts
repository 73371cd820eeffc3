// Networks: the one that an address stands for, where clients are told apart by it; and lists of them.
import { BlockList, isIPv6 } from 'node:net'

/** An IPv4 address, or the /64 that one holder of IPv6 addresses has at least. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const mapped = /^::ffff:(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3})$/i.exec(address)
  if (mapped?.[1] !== undefined) return mapped[1]
  if (!isIPv6(address)) return address
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const groups = head === '' ? [] : head.split(':')
  const missing =
    tail === undefined ? 0 : 8 - groups.length - (tail === '' ? 0 : tail.split(':').length)
  const all = [...groups, ...Array.from({ length: missing }, () => '0'), ...(tail ?? '').split(':')]
  return all
    .slice(0, 4)
    .map((group) => group.toLowerCase().replace(/^0{1,3}(?=.)/, ''))
    .join(':')
}

/** What is in any of `networks`, each an address or as `10.0.0.0/8`. Throws TypeError for anything else. */
export function addressList(networks: readonly string[]): BlockList {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', prefix, ...rest] = network.split('/')
    const family = isIPv6(address) ? 'ipv6' : 'ipv4'
    const bits = prefix ?? (family === 'ipv6' ? '128' : '32')
    if (rest.length > 0 || !/^\d{1,3}$/.test(bits)) throw new TypeError(`${network} is no network`)
    list.addSubnet(address, Number(bits), family)
  }
  return list
}
