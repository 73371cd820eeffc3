// Ceph with its gateway to S3, one of each daemon, everything in memory.
import { randomUUID } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { Test } from 'tap'
import { freePort, run, startProgram, succeed, type Program } from '../e2e/lab/program.ts'

const attempts = 10

export interface Ceph {
  /** Where its gateway listens. */
  port: number
  stop: () => Promise<void>
  start: () => Promise<void>
}

/** Whoever has this key pair may make buckets. */
export async function startCeph(
  t: Pick<Test, 'teardown'>,
  folder: string,
  { user, secret }: { user: string; secret: string },
): Promise<Ceph> {
  const [port, monitor] = [await freePort(), await freePort()]
  const at = (name: string) => join(folder, name)
  for (const name of ['mon', 'osd', 'run']) mkdirSync(at(name), { recursive: true })
  const [cluster, osd] = [randomUUID(), randomUUID()]
  writeFileSync(at('ceph.conf'), configOf(folder, { cluster, monitor, port }))
  const conf = ['-c', at('ceph.conf')]
  const keyring = ['--gen-key', '--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *']
  await succeed('ceph-authtool', ['--create-keyring', at('keyring'), '-n', 'mon.', ...keyring])
  await succeed('ceph-authtool', [at('keyring'), '-n', 'client.admin', ...keyring])
  const monitors = ['--addv', 'a', `[v1:127.0.0.1:${monitor}]`, at('monmap')]
  await succeed('monmaptool', ['--create', '--fsid', cluster, ...monitors])
  const made = ['--mkfs', '--monmap', at('monmap'), '--keyring', at('keyring')]
  await succeed('ceph-mon', [...conf, '-i', 'a', ...made])
  await startProgram(t, { command: 'ceph-mon', args: [...conf, '-i', 'a', '-f'] })
  await patiently(async () => succeed('ceph', [...conf, 'osd', 'new', osd]))
  await succeed('ceph-osd', [...conf, '-i', '0', '--mkfs', '--osd-uuid', osd])
  await patiently(async () =>
    startProgram(t, {
      command: 'ceph-osd',
      args: [...conf, '-i', '0', '-f'],
      endedBy: 'SIGKILL',
      ready: async () => (await run('ceph', [...conf, 'osd', 'stat'])).stdout.includes('1 up'),
    }),
  )
  let gateway: Program | undefined
  const start = async () => {
    gateway = await startProgram(t, {
      command: 'radosgw',
      args: [...conf, '-n', 'client.admin', '-f'],
      endedBy: 'SIGKILL',
      ready: async () => answers(port),
    })
  }
  await start()
  const key = [`--access-key=${user}`, `--secret-key=${secret}`]
  const about = ['user', 'create', '--uid=test', '--display-name=test', ...key]
  await succeed('radosgw-admin', [...conf, '-n', 'client.admin', ...about])
  return { port, start, stop: async () => void (await gateway?.stop('SIGKILL')) }
}

/** Now and then a monitor that has just been started refuses what it is asked (EPERM, "wrong fsid"). */
async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      if (attempt === attempts) throw error
      await wait(500)
    }
  }
}

async function answers(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/`)).ok
  } catch {
    return false
  }
}

/** Nothing of it asks who somebody is, and nothing lies on a disk but what is few. */
function configOf(
  folder: string,
  { cluster, monitor, port }: { cluster: string; monitor: number; port: number },
): string {
  return `[global]
fsid = ${cluster}
mon host = v1:127.0.0.1:${monitor}
public network = 127.0.0.0/8
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
keyring = ${folder}/keyring
run dir = ${folder}/run
admin socket = ${folder}/run/$name-$pid.asok
log file = ${folder}/run/$name.log
mon cluster log file = ${folder}/run/cluster.log
mon data = ${folder}/mon
osd data = ${folder}/osd
osd objectstore = memstore
memstore device bytes = 8589934592
mon data avail crit = 0
mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
rgw frontends = beast endpoint=127.0.0.1:${port}
`
}
