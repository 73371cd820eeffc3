// How much memory does a connection take, and does it grow with what is sent?
import { writeFileSync } from 'node:fs'
import { addBlob, addImage, emptyContent, KiB, MiB } from './lab/content.ts'
import { memoryBytes } from './lab/cpu.ts'
import { benchmark, beside, compare, type Row } from './lab/report.ts'
import { median, type Series } from './lab/rounds.ts'
import type { Server } from './lab/server.ts'
import { makeSite, type Site } from './lab/site.ts'
import { startServers } from './lab/warm.ts'

const connections = 500
const few = 20

await benchmark(async (scope) => {
  const site = await makeSite(scope)
  const content = emptyContent()
  const [, , manifest = ''] = addImage(content, '1.0', [KiB])
  const [small, large] = [addBlob(content, 16 * MiB), addBlob(content, 512 * MiB)]
  const servers = await startServers(scope, site, content, ['nginx', 'registry'])
  // Once each: what a server has taken for many connections it keeps for the next ones.
  const perConnection: Series = new Map()
  for (const server of servers) {
    const idle = await inUse(site, server, few, manifest)
    const busy = await inUse(site, server, connections, manifest)
    perConnection.set(server, [(busy - idle) / (connections - few)])
  }
  const [gateway] = servers
  const work = `each of ${connections} active connections`
  const ours = median(perConnection.get(gateway) ?? [])
  return [
    beside({ work, unit: 'KiB', ours: ours / KiB, peer: 'the limit', theirs: 128, target: 1 }),
    ...compare(perConnection, {
      work,
      unit: 'KiB',
      scale: 1 / KiB,
      targets: [undefined, undefined],
    }),
    await flatness(site, gateway, small, large),
  ]
})

/** Bytes in use while so many connections are open and have just been asking. */
async function inUse(
  { load }: Site,
  { pid, port }: Server,
  connections: number,
  line: string,
): Promise<number> {
  await load({ kind: 'open', port, connections })
  await load({ kind: 'repeat', lines: [line], seconds: 2 })
  const bytes = memoryBytes(pid)
  await load({ kind: 'close' })
  return bytes
}

/** The peak while eight clients read the large blob, next to that with the small one. */
async function flatness(site: Site, gateway: Server, small: string, large: string): Promise<Row> {
  const peak = async (line: string) => {
    await site.load({ kind: 'open', port: gateway.port, connections: 8 })
    // Clears what VmHWM remembers: proc(5).
    writeFileSync(`/proc/${gateway.pid}/clear_refs`, '5')
    await site.load({ kind: 'repeat', lines: [line], seconds: 1 })
    return memoryBytes(gateway.pid, 'VmHWM')
  }
  const [before, after] = [await peak(small), await peak(large)]
  return beside({
    work: 'peak while 8 read 512 MiB',
    unit: 'MiB',
    ours: after / MiB,
    peer: 'ours at 16 MiB',
    theirs: before / MiB,
    target: 1.1,
  })
}
