// Nothing that a client names is resolved or dialled: counted where only the gateway could send.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { optionsFor } from '../requirements.ts'
import { makeCurl } from './lab/curl.ts'
import { configFor, startGateway } from './lab/gateway.ts'
import { repository, startLab } from './lab/lab.ts'

t.test('an unknown ns is 404, and not one packet leaves', optionsFor('isolation'), async (t) => {
  const lab = await startLab(t, { layerBytes: 1000 })
  const alone = ['unshare', '--net', 'sh', '-c', 'ip link set lo up && exec "$@"', 'sh']
  const gateway = await startGateway(t, configFor(lab), alone)
  const inside = ['nsenter', `--net=/proc/${gateway.program.pid}/ns/net`]
  const curl = makeCurl(t, gateway, lab.certificates, inside)
  const target = `/v2/${repository}/manifests/1.0`
  const names = ['evil.example', 'docker.io', '169.254.169.254', '10.0.0.1:443', 'localhost', '..']

  const before = counters(gateway.program.pid)
  for (const name of names) {
    const byNs = await curl(`${target}?ns=${name}`)
    const byHeader = await curl(target, '--header', `X-Registry: ${name}`)
    for (const { status, body } of [byNs, byHeader]) {
      t.equal(status, 404, name)
      t.match(JSON.parse(body.toString()), { errors: [{ code: 'NAME_UNKNOWN' }] })
    }
  }
  const after = counters(gateway.program.pid)
  const opened = after.connects - before.connects
  t.equal(opened, names.length * 2, 'the only connections are those of curl')
  t.equal(after.datagrams, before.datagrams, 'nobody was asked for an address')
  t.equal(after.unroutable, before.unroutable, 'nothing was sent to where no route goes')

  const known = await curl(`${target}?ns=registry.local`)
  t.equal(known.status, 502, 'a known one is asked, in vain from in here')
  t.ok(counters(gateway.program.pid).connects > after.connects + 1, 'and that would be seen')
})

/** What the network namespace of a process has sent so far. */
function counters(pid: number) {
  const lines = readFileSync(`/proc/${pid}/net/snmp`, 'utf8').split('\n')
  const value = (protocol: string, field: string): number => {
    const [names = '', values = ''] = lines.filter((line) => line.startsWith(`${protocol}: `))
    return Number(values.split(' ')[names.split(' ').indexOf(field)])
  }
  return {
    connects: value('Tcp', 'ActiveOpens'),
    datagrams: value('Udp', 'OutDatagrams'),
    unroutable: value('Ip', 'OutNoRoutes'),
  }
}
