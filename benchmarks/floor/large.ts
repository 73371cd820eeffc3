// A large blob: copied into stages of 256 KiB, each of them hashed, written to the file and sent from there.
import { createHash } from 'node:crypto'
import { close, fsync, openSync, rename, write } from 'node:fs'
import type { ServerResponse } from 'node:http'
import type { Steps } from './steps.ts'

const stageBytes = 256 * 1024
/** Stages of one blob that are being written or sent before the upstream waits. */
const mostStages = 4

export function createLarge({ folder, upstream, has, log }: Steps) {
  const spare: Buffer[] = []
  let files = 0

  return (path: string, response: ServerResponse): void => {
    const temporary = `${folder}/temporary-${(files += 1)}`
    const fd = has('file') ? openSync(temporary, 'wx') : undefined
    const hash = has('hash') ? createHash('sha256') : undefined
    let stage = spare.pop() ?? Buffer.allocUnsafeSlow(stageBytes)
    let filled = 0
    let position = 0
    let underWay = 0
    let hasEnded = false

    const flow = upstream(path, {
      head: (size) => response.writeHead(200, { 'content-length': has('client') ? size : 0 }),
      data(chunk) {
        for (let done = 0; done < chunk.length;) {
          const copied = chunk.copy(stage, filled, done)
          filled += copied
          done += copied
          if (filled === stageBytes) flush()
        }
      },
      end() {
        if (filled > 0) flush()
        hasEnded = true
        const digest = hash?.digest('hex')
        if (digest !== undefined && has('upstream') && !path.endsWith(digest)) {
          throw new Error(`${path} has other content`)
        }
        response.end()
        log(`${path} 200 ${position}`)
        if (underWay === 0) store()
      },
    })

    function flush(): void {
      const full = stage
      const part = full.subarray(0, filled)
      hash?.update(part)
      let users = 1
      const done = () => {
        users -= 1
        if (users > 0) return
        spare.push(full)
        underWay -= 1
        if (underWay < mostStages) flow.resume()
        if (underWay === 0 && hasEnded) store()
      }
      underWay += 1
      if (underWay >= mostStages) flow.pause()
      if (fd !== undefined) {
        users += 1
        write(fd, part, 0, filled, position, done)
      }
      if (has('client')) {
        users += 1
        response.write(part, done)
      }
      position += filled
      filled = 0
      stage = spare.pop() ?? Buffer.allocUnsafeSlow(stageBytes)
      done()
    }

    function store(): void {
      spare.push(stage)
      if (fd === undefined) return
      const named = () => close(fd, () => undefined)
      fsync(fd, () => rename(temporary, `${folder}/blobs/${path.slice(-64)}`, named))
    }
  }
}
