// A client that pulls one image again and again over keep-alive connections, as a busy node does.
import { Agent, request, type AgentOptions } from 'node:https'
import { buffer } from 'node:stream/consumers'
import type { TLSSocket } from 'node:tls'
import type { SampleContent } from '../../../src/demo/sample-image.ts'
import { digestOf, type Digest } from '../../../src/oci/digest.ts'

export interface SteadyPuller {
  name: string
  /** Images pulled so far. */
  rounds: () => number
  handshakes: () => number
  /** Serial number of the gateway's certificate at the newest handshake, hex in upper case. */
  seen: () => string
  /** What ended it, once something has: the loop goes on until the first thing that is not right. */
  failure: () => string | undefined
  /** Lets it finish the image that it is at. */
  stop: () => Promise<void>
}

export interface SteadyOptions {
  name: string
  port: number
  /** CA, certificate and key, as PEM. */
  tls: Pick<AgentOptions, 'ca' | 'cert' | 'key'>
  /** Path of the repository, such as `/v2/registry.local/app`. */
  path: string
  image: SampleContent
  /** Images after which it connects anew. */
  renewEvery: number
}

/** Starts to pull, with one connection at a time. */
export function startPuller(options: SteadyOptions): SteadyPuller {
  const { name, port, tls, renewEvery } = options
  const stopping = new AbortController()
  let [rounds, handshakes] = [0, 0]
  let seen = ''
  let failure: string | undefined
  let agent = connect()

  function connect(): Agent {
    return new Agent({ ...tls, keepAlive: true, maxSockets: 1, maxCachedSessions: 0 })
  }

  /** A status that is not 200, bytes that are not right, or a broken connection: it rejects. */
  async function fetchRight(path: string, digest: Digest): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    const asked = request({ agent, host: '127.0.0.1', port, path }, (response) => {
      const { statusCode } = response
      buffer(response).then(
        (body) => (statusCode === 200 ? resolve(body) : reject(new Error(`${statusCode} ${path}`))),
        reject,
      )
    })
    asked.on('error', reject).on('socket', (socket) => {
      if (asked.reusedSocket) return
      socket.once('secureConnect', () => {
        handshakes += 1
        seen = (socket as TLSSocket).getPeerX509Certificate()?.serialNumber ?? ''
      })
    })
    asked.end()
    const got = digestOf(await promise)
    if (got !== digest) throw new Error(`${path} has the digest ${got}`)
  }

  async function pullImage(): Promise<void> {
    const { path, image } = options
    for (const [tag, digest] of image.tags) await fetchRight(`${path}/manifests/${tag}`, digest)
    for (const digest of image.blobs.keys()) await fetchRight(`${path}/blobs/${digest}`, digest)
  }

  async function pullSteadily(): Promise<void> {
    try {
      while (!stopping.signal.aborted) {
        await pullImage()
        rounds += 1
        if (rounds % renewEvery === 0) {
          agent.destroy()
          agent = connect()
        }
      }
    } catch (error) {
      failure = String(error)
    } finally {
      agent.destroy()
    }
  }

  const ended = pullSteadily()
  return {
    name,
    rounds: () => rounds,
    handshakes: () => handshakes,
    seen: () => seen,
    failure: () => failure,
    stop: () => {
      stopping.abort()
      return ended
    },
  }
}
