// Who the replicas are: from a list, and from DNS over a server that answers what the test says.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createMembers, type Members } from '../../../src/upstream/replicas/members.ts'
import { recordingLog } from '../../helpers/listener.ts'

const none = { list: [], port: 5443 }

function open(t: Test, config: object, own?: { host: string; port: number }) {
  const { log, lines } = recordingLog()
  const members = createMembers({ ...none, ...config }, { own: () => own, log })
  t.teardown(members.close)
  return { members, lines }
}

/** A DNS server with these addresses for every name, IPv4 and `::1`; `undefined`: it fails for IPv4. */
async function startDns(
  t: Test,
  addresses: () => readonly string[] | undefined,
  hasIpv6 = false,
): Promise<string> {
  const socket = createSocket('udp4')
  t.teardown(() => socket.close())
  socket.on('message', (query, { port, address }) => {
    const end = query.indexOf(0, 12) + 5
    const isIpv4 = query.readUInt16BE(end - 4) === 1
    const ipv4 = isIpv4 ? addresses() : []
    const found = (ipv4 ?? []).map((ip) => record(1, ip.split('.').map(Number)))
    if (!isIpv4 && hasIpv6) found.push(record(28, [...Array<number>(15).fill(0), 1]))
    const head = Buffer.from(query.subarray(0, 12))
    head.writeUInt16BE(ipv4 === undefined ? 0x8182 : 0x8180, 2)
    head.writeUInt16BE(found.length, 6)
    head.writeUInt16BE(0, 8)
    head.writeUInt16BE(0, 10)
    socket.send(Buffer.concat([head, query.subarray(12, end), ...found]), port, address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return `127.0.0.1:${socket.address().port}`
}

function record(type: number, address: readonly number[]): Buffer {
  return Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 5, 0, address.length, ...address])
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await setTimeout(20)
}

const allOf = (members: Members) => [...members.all()].sort()

t.test('of a list, the one with an address and the port of this gateway', async (t) => {
  const list = ['127.0.0.1:1', '127.0.0.1:2', '192.0.2.1:2']
  t.equal(open(t, { list }).members.self(), undefined, 'before it listens')
  t.equal(open(t, { list }, { host: '0.0.0.0', port: 2 }).members.self(), '127.0.0.1:2')
  t.equal(open(t, { list }, { host: '127.0.0.2', port: 2 }).members.self(), undefined)
  t.equal(open(t, { list, self: '192.0.2.1:2' }).members.self(), '192.0.2.1:2')
})

t.test('a name of the list is looked up', async (t) => {
  const list = ['no-such-name.invalid:2', 'localhost:2']
  const { members } = open(t, { list }, { host: '0.0.0.0', port: 2 })
  members.start()
  await until(() => members.self() !== undefined)
  t.equal(members.self(), 'localhost:2')
})

t.test('DNS is asked again, and where it fails, who was there is there', async (t) => {
  let addresses: string[] = ['127.0.0.2', '127.0.0.3']
  const resolver = await startDns(t, () => addresses)
  const { members, lines } = open(
    t,
    { dns: 'gateway.example', resolver, port: 7 },
    { host: '127.0.0.3', port: 7 },
  )
  t.same(allOf(members), [])
  members.start()
  await until(() => members.all().length > 0)
  t.same(allOf(members), ['127.0.0.2:7', '127.0.0.3:7'])
  t.equal(members.self(), '127.0.0.3:7')
  addresses = ['127.0.0.3', '127.0.0.4']
  await until(() => members.all().includes('127.0.0.4:7'))
  t.same(allOf(members), ['127.0.0.3:7', '127.0.0.4:7'])
  addresses = []
  const told = () => lines.find(({ msg }) => /who the replicas are/.test(String(msg)))
  await until(() => told() !== undefined)
  t.match(told(), { err: { message: /ENODATA/ } }, 'and why')
  t.same(allOf(members), ['127.0.0.3:7', '127.0.0.4:7'])
})

t.test('half of an answer is none: who was there is there', async (t) => {
  let ipv4: string[] | undefined = ['127.0.0.2']
  const resolver = await startDns(t, () => ipv4, true)
  const { members, lines } = open(t, { dns: 'gateway.example', resolver, port: 7 })
  members.start()
  await until(() => members.all().length > 0)
  t.same(allOf(members), ['127.0.0.2:7', '[::1]:7'])
  ipv4 = undefined
  await until(() => lines.length > 0)
  t.match(lines[0], { err: { message: /cannot be looked up/ } })
  t.same(allOf(members), ['127.0.0.2:7', '[::1]:7'])
})
