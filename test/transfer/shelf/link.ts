// A link that is thin, and comes and goes: TCP to one port, so many bytes at a time while it is up.
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { Test } from 'tap'

export interface Link {
  url: string
  up: () => void
  down: () => void
}

/** Starts one to `target`, up, with `perTick` bytes each 5 ms; closed with the test. */
export async function startLink(
  t: Pick<Test, 'teardown'>,
  target: string,
  perTick: number,
): Promise<Link> {
  const { port } = new URL(target)
  const pairs = new Set<{ near: Socket; far: Socket }>()
  let isUp = true

  const server = createServer((near) => {
    if (!isUp) {
      near.destroy()
      return
    }
    const far = connect(Number(port), '127.0.0.1')
    const pair = { near, far }
    pairs.add(pair)
    const over = () => {
      pairs.delete(pair)
      far.destroy()
      near.end()
    }
    near.on('data', (bytes) => far.write(bytes)).on('error', over)
    near.on('close', over)
    far.on('end', () => far.readableLength === 0 && over()).on('error', over)
  })
  const timer = setInterval(() => {
    let left = perTick
    for (const { near, far } of pairs) {
      const bytes: unknown = far.read(Math.min(left, far.readableLength))
      if (!Buffer.isBuffer(bytes)) continue
      left -= bytes.length
      near.write(bytes)
      if (left === 0) return
    }
  }, 5)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    clearInterval(timer)
    for (const { near, far } of pairs) [near, far].forEach((socket) => socket.destroy())
    server.close()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    up: () => void (isUp = true),
    down() {
      isUp = false
      // What has come down it arrives; the rest is lost.
      for (const { near, far } of pairs) {
        far.destroy()
        near.end()
      }
      pairs.clear()
    },
  }
}
